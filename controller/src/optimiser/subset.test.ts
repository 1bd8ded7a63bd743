import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceDocument } from '../../../test/fixtures/instances/reference-instances.js';
import { type GateProblem, gateProblemSchema } from './gate-problem.js';
import { bestSubset, subsetValue } from './subset.js';

const never = () => false;

describe('bestSubset', () => {
  it.each(['gate-01-n8', 'gate-03-n12', 'gate-05-n16', 'softgate-1-n6', 'softgate-2-n10'])('solves %s', (name) => {
    const { document, expected } = referenceDocument(name);
    const result = bestSubset(gateProblemSchema.parse(document), { expired: never });
    expect(result.status).toBe('optimal');
    expect(result.objective).toBeCloseTo(expected.objective ?? NaN, 8);
    expect(result.subset).toEqual(expected.subset);
  });

  it('equals brute force on random gates, hard and soft', () => {
    const share = fc.integer({ min: 0, max: 1000 }).map((n) => n / 1000);
    const table = (n: number, k: number) =>
      fc.array(fc.array(share, { minLength: k, maxLength: k }), { minLength: n, maxLength: n });
    const gates = fc.tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 4 })).chain(([n, k]) =>
      fc.record({
        kind: fc.constantFrom('gate' as const, 'softgate' as const),
        experts: fc.constant(n),
        classes: fc.constant(k),
        weight: fc.array(share, { minLength: k, maxLength: k }),
        quality: table(n, k),
        logit: fc
          .tuple(fc.constantFrom(1, 30), table(n, k))
          .map(([steep, rows]) => rows.map((row) => row.map((each) => steep * each))),
        topk: fc.option(fc.integer({ min: 1, max: 3 }), { nil: null }),
        resources: table(2, n),
        budget: fc.tuple(share, share).map(([a, b]) => [a * n, b * n]),
        maxExperts: fc.option(fc.integer({ min: 0, max: n }), { nil: null }),
        minReplicas: fc.constantFrom(0, 0, 1),
      }),
    );
    fc.assert(
      fc.property(gates, (seed) => {
        const problem = gateProblemSchema.parse({ schema: 'fleet-opt/1', name: 'random', ...seed });
        const result = bestSubset(problem, { expired: never });
        const oracle = bruteForce(problem);
        expect(result.status).toBe(oracle === undefined ? 'infeasible' : 'optimal');
        if (oracle !== undefined) expect(result.objective).toBeCloseTo(oracle, 9);
      }),
      { numRuns: 400, seed: 7 },
    );
  });

  it('looks at the clock within a node of a large soft gate, and then has a bound and a subset', () => {
    const [experts, classes] = [40, 400];
    const table = (spread: number) =>
      Array.from({ length: experts }, (_, i) =>
        Array.from({ length: classes }, (_, k) => (spread * ((i * 7 + k * 13) % 31)) / 31),
      );
    const problem = gateProblemSchema.parse({
      schema: 'fleet-opt/1',
      kind: 'softgate',
      experts,
      classes,
      weight: Array.from({ length: classes }, () => 1),
      quality: table(1),
      logit: table(3),
      resources: [],
      budget: [],
      maxExperts: 3,
      topk: 2,
    });
    let looks = 0;
    const result = bestSubset(problem, { expired: () => ++looks > 3 });
    expect(result).toMatchObject({ status: 'timeout', nodes: 1 });
    expect(result.subset).toHaveLength(3);
    expect(result.objective).toBeCloseTo(subsetValue(problem, result.subset ?? []), 9);
    expect(result.bound).toBeLessThanOrEqual(classes);
    expect(bestSubset(problem, { expired: () => true })).toMatchObject({ status: 'timeout', nodes: 1 });
  });

  it('stops when time is over, with a bound that holds', () => {
    const { document, expected } = referenceDocument('gate-05-n16');
    const problem = gateProblemSchema.parse(document);
    const wide = { ...problem, budget: problem.budget.map((each) => each * 2) };
    const best = bestSubset(wide, { expired: never }).objective ?? NaN;
    const result = bestSubset(wide, { expired: () => true });
    expect(result.bound ?? NaN).toBeGreaterThanOrEqual(best - 1e-9);
    expect(best).toBeGreaterThanOrEqual(expected.objective ?? NaN);
  });

  it.each([
    ['experts', 0],
    ['experts', 1001],
    ['experts', '8'],
    ['classes', 0],
    ['weight', [-1, 1, 1, 1, 1, 1]],
    ['weight', ['1']],
    ['quality', [[1e13]]],
    ['resources', []],
    ['budget', ['1']],
    ['maxExperts', 1.5],
    ['minReplicas', -1],
  ])('refuses a gate whose %s is %j', (key, value) => {
    const { document } = referenceDocument('gate-01-n8');
    const fault = gateProblemSchema.safeParse({ ...(document as object), [key]: value }).error;
    expect(fault?.issues.map(({ path }) => path[0])).toContain(key);
  });

  it('knows nothing of softmax weights that are too small for a double', () => {
    const { document } = referenceDocument('softgate-1-n6');
    const problem = gateProblemSchema.parse(document);
    if (problem.kind !== 'softgate') throw new Error('expected a softmax gate');
    const steep = { ...problem, logit: problem.logit.map((row) => row.map((each) => each * 1e4)) };
    const result = bestSubset(steep, { expired: never });
    expect(result.objective).toBeCloseTo(bruteForce(steep) ?? NaN, 9);
  });

  it('refuses tables of the wrong size', () => {
    const { document } = referenceDocument('gate-01-n8');
    const fault = gateProblemSchema.safeParse({ ...(document as object), experts: 9 }).error;
    expect(fault?.issues.map(({ path }) => path.join('.'))).toContain('quality');
  });
});

function bruteForce(problem: GateProblem): number | undefined {
  let best: number | undefined;
  for (let mask = 0; mask < 2 ** problem.experts; mask++) {
    const subset = Array.from({ length: problem.experts }, (_, i) => i).filter((i) => (mask >> i) % 2 === 1);
    const fits = problem.resources.every(
      (use, j) => subset.reduce((sum, i) => sum + (use[i] ?? 0), 0) <= (problem.budget[j] ?? 0) + 1e-9,
    );
    const few = problem.maxExperts === null || subset.length <= problem.maxExperts;
    const replicas = problem.weight.every(
      (_, k) => subset.filter((i) => (problem.quality[i]?.[k] ?? 0) > 0).length >= (problem.minReplicas ?? 0),
    );
    if (fits && few && replicas) best = Math.max(best ?? -Infinity, subsetValue(problem, subset));
  }
  return best;
}
