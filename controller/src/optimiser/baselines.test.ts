import { SeededRandom } from '@fleetgate/shared/random';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceDocument } from '../../../test/fixtures/instances/reference-instances.js';
import { compareWithBaselines } from './baseline-comparison.js';
import { baselineChoice, BASELINES, isAllowed } from './baselines.js';
import { type GateProblem, gateProblemSchema } from './gate-problem.js';
import { bestSubset, subsetValue } from './subset.js';

const never = () => false;
const REFERENCES = ['gate-01-n8', 'gate-03-n12', 'gate-05-n16', 'softgate-1-n6', 'softgate-2-n10'];

/** Three experts, two classes: 0 is good at one, 1 at the other, 2 middling at both and as dear as those together. */
const aGate = (changes: Partial<GateProblem> = {}): GateProblem =>
  gateProblemSchema.parse({
    schema: 'fleet-opt/1',
    kind: 'gate',
    experts: 3,
    classes: 2,
    weight: [1, 1],
    quality: [
      [0.9, 0],
      [0, 0.8],
      [0.6, 0.6],
    ],
    resources: [[1, 1, 2]],
    budget: [2],
    ...changes,
  });

const tenths = fc.integer({ min: 0, max: 10 }).map((n) => n / 10);
const gates = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 4 })).chain(([n, k]) => {
  const table = (rows: number, columns: number) =>
    fc.array(fc.array(tenths, { minLength: columns, maxLength: columns }), { minLength: rows, maxLength: rows });
  return fc
    .record({
      kind: fc.constantFrom('gate' as const, 'gate' as const, 'softgate' as const),
      weight: fc.array(tenths, { minLength: k, maxLength: k }),
      quality: table(n, k),
      logit: table(n, k),
      resources: table(2, n),
      budget: fc.tuple(tenths, tenths).map((shares) => shares.map((share) => share * n)),
      maxExperts: fc.option(fc.integer({ min: 0, max: n }), { nil: null }),
      minReplicas: fc.constantFrom(0, 0, 1),
    })
    .map((seed) => gateProblemSchema.parse({ schema: 'fleet-opt/1', experts: n, classes: k, ...seed }));
});

describe('baselines', () => {
  it('choose as their names say', () => {
    const subsetOf = (baseline: (typeof BASELINES)[number], problem: GateProblem) =>
      baselineChoice(baseline, problem, new SeededRandom(1))?.subset;
    expect(subsetOf('single', aGate())).toEqual([2]);
    expect(subsetOf('greedy', aGate())).toEqual([0, 1]);
    expect(subsetOf('exhaustive', aGate())).toEqual([0, 1]);
    expect(subsetOf('all', aGate())).toBeUndefined();
    expect(subsetOf('all', aGate({ budget: [4] }))).toEqual([0, 1, 2]);
    expect([[0, 1], [2]]).toContainEqual(subsetOf('random', aGate()));
  });

  it('greedy stops short where a dear expert is worth more than cheap ones', () => {
    const problem = aGate({
      quality: [
        [0.2, 0],
        [0, 0.2],
        [0.9, 0.9],
      ],
      resources: [[0.1, 0.1, 2]],
    });
    expect(baselineChoice('greedy', problem, new SeededRandom(1))?.subset).toEqual([0, 1]);
    expect(bestSubset(problem, { expired: never }).subset).toEqual([2]);
  });

  it('have no choice where floors or the number of experts forbid it', () => {
    const random = new SeededRandom(1);
    expect(baselineChoice('single', aGate({ minReplicas: 2 }), random)).toBeUndefined();
    const many = 21;
    const wide = aGate({
      experts: many,
      quality: Array.from({ length: many }, () => [0.5, 0.5]),
      resources: [Array.from({ length: many }, () => 1)],
    });
    expect(baselineChoice('exhaustive', wide, random)).toBeUndefined();
    expect(baselineChoice('greedy', wide, random)?.objective).toBe(1);
  });

  it('never beat the optimum, keep every bound, and enumeration equals it', () => {
    fc.assert(
      fc.property(gates, fc.nat(), (problem, seed) => {
        const ours = bestSubset(problem, { expired: never });
        for (const baseline of BASELINES) {
          const choice = baselineChoice(baseline, problem, new SeededRandom(seed));
          if (baseline === 'exhaustive') expect(choice === undefined).toBe(ours.objective === null);
          if (choice === undefined) continue;
          expect(isAllowed(problem, choice.subset)).toBe(true);
          expect(choice.objective).toBeCloseTo(subsetValue(problem, choice.subset), 12);
          expect(choice.objective).toBeLessThanOrEqual((ours.objective ?? -Infinity) + 1e-9);
          if (baseline === 'exhaustive') expect(choice.objective).toBeCloseTo(ours.objective ?? NaN, 9);
        }
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});

describe('comparison with the baselines', () => {
  it.each(REFERENCES)('on %s ours is the proven answer and no baseline is better', (name) => {
    const { document, expected } = referenceDocument(name);
    const result = compareWithBaselines(gateProblemSchema.parse(document), 1, never);
    expect(result.isProven).toBe(true);
    expect(result.ours).toBeCloseTo(expected.objective ?? NaN, 8);
    expect(result.baselines.exhaustive).toBeCloseTo(expected.objective ?? NaN, 8);
    for (const value of Object.values(result.baselines))
      expect(value ?? 0).toBeLessThanOrEqual((result.ours ?? 0) + 1e-9);
  });

  it('repeats itself for the same seed, and says null where nothing is allowed', () => {
    const [first, second] = [1, 1].map((seed) => compareWithBaselines(aGate(), seed, never));
    expect(first).toEqual(second);
    const none = compareWithBaselines(aGate({ minReplicas: 3 }), 1, never);
    expect(none).toMatchObject({ ours: null, subset: [], isProven: true });
    expect(Object.values(none.baselines)).toEqual([null, null, null, null, null]);
  });
});
