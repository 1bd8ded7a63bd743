import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '@fleetgate/shared/random';

import { kernelMismatches } from '../bench/kernel-mismatches.js';
import { randomGate } from '../bench/random-gates.js';
import { exhaustiveValue } from './exhaustive-subsets.js';
import { gateSubsetProblem } from './gate-subset.js';
import { randomSubsetProblems } from './subset.fixture.js';
import { solveSubset } from './subset-kernel.js';
import { undominated } from './subset-dominance.js';
import { FREE, OUT, subsetForm, type SubsetProblem, valueOf } from './subset-problem.js';

const never = () => false;
const large = (structure: 'spread' | 'clusters', seed: number) =>
  randomGate(new SeededRandom(seed), {
    experts: 60,
    classes: 16,
    structure,
    maxExperts: null,
    budgetShare: 0.08,
    minReplicas: 0,
  });

describe('solveSubset', () => {
  it('differs from brute force on none of 2,000 random gates of up to 16 experts', () => {
    expect(kernelMismatches(2000, 11)).toBe(0);
  });

  it('compares facilities only while there is time', () => {
    // Each pair of a thousand that differ in their last client alone takes as long as there are clients.
    const problem: SubsetProblem = {
      facilities: 2,
      clients: 2,
      service: 'optional',
      value: Float64Array.from([1, 1, 1, 0.5]),
    };
    expect([...undominated(subsetForm(problem), never).fixed]).toEqual([FREE, OUT]);
    expect([...undominated(subsetForm(problem), () => true).fixed]).toEqual([FREE, FREE]);
  });

  it('equals brute force with costs, counts, forced facilities and required service', () => {
    fc.assert(
      fc.property(randomSubsetProblems, (problem) => {
        const result = solveSubset(problem, { expired: never });
        const truth = exhaustiveValue(subsetForm(problem));
        expect(result.status).toBe(truth === undefined ? 'infeasible' : 'optimal');
        if (truth === undefined) return;
        expect(result.objective).toBeCloseTo(truth, 9);
        expect(result.bound).toBeCloseTo(truth, 9);
        expect(valueOf(subsetForm(problem), result.subset ?? [])).toBe(result.objective);
      }),
      { numRuns: 1500, seed: 3 },
    );
  });

  it('proves a small p-median and a small facility location', () => {
    // Five towns on a line at 0, 1, 2, 10 and 11: two depots are best at 1 and at either end town.
    const at = [0, 1, 2, 10, 11];
    const value = Float64Array.from(at.flatMap((from) => at.map((to) => -Math.abs(from - to))));
    const line: SubsetProblem = { facilities: 5, clients: 5, value, service: 'required' };
    const two = solveSubset({ ...line, minCount: 2, maxCount: 2 }, { expired: never });
    expect(two).toMatchObject({ status: 'optimal', objective: -3, bound: -3 });
    const priced = solveSubset({ ...line, openCost: [30, 30, 30, 30, 30] }, { expired: never });
    expect(priced).toMatchObject({ status: 'optimal', subset: [2], objective: -50 });
    const held = solveSubset(
      { ...line, openCost: [30, 30, 30, 30, 30], forcedIn: [4], forcedOut: [2] },
      { expired: never },
    );
    expect(held.subset).toContain(4);
    expect(held.subset).not.toContain(2);
  });

  it.each([1, 5, 20, 80])('stops after %i looks at the clock with a bound that holds', (looks) => {
    for (const structure of ['spread', 'clusters'] as const) {
      const problem = gateSubsetProblem(large(structure, looks));
      const best = solveSubset(problem, { expired: never }).objective ?? NaN;
      let left = looks;
      const result = solveSubset(problem, { expired: () => --left < 0 });
      expect(result.bound ?? NaN).toBeGreaterThanOrEqual(best - 1e-9);
      if (result.objective !== null) expect(result.objective).toBeLessThanOrEqual(best + 1e-9);
    }
  });

  it('stops within the gap asked for and says what it proved', () => {
    const problem = gateSubsetProblem(large('spread', 4));
    const exact = solveSubset(problem, { expired: never });
    const rough = solveSubset(problem, { expired: never, gap: 0.02 });
    expect(rough.nodes).toBeLessThan(exact.nodes);
    expect(['optimal', 'feasible']).toContain(rough.status);
    expect(rough.bound ?? NaN).toBeGreaterThanOrEqual((exact.objective ?? NaN) - 1e-9);
    expect((rough.bound ?? NaN) - (rough.objective ?? NaN)).toBeLessThanOrEqual(0.02 * (rough.objective ?? NaN) + 1e-9);
  });

  it('gives the same value for any seed and any order of the experts', () => {
    const gate = large('clusters', 9);
    const turned = {
      ...gate,
      quality: gate.quality.toReversed(),
      resources: gate.resources.map((use) => use.toReversed()),
    };
    const values = [1, 2, 3].map((seed) => solveSubset(gateSubsetProblem(gate), { expired: never, seed }).objective);
    values.push(solveSubset(gateSubsetProblem(turned), { expired: never }).objective);
    values.push(solveSubset(gateSubsetProblem(gate), { expired: never, start: [50, 51, 52, 53, 54, 55] }).objective);
    for (const value of values) expect(value).toBeCloseTo(values[0] ?? NaN, 10);
  });

  it('answers problems without facilities, without clients and with nothing that fits', () => {
    const empty = { facilities: 0, clients: 2, value: new Float64Array(0), service: 'optional' as const };
    expect(solveSubset(empty, { expired: never })).toMatchObject({ status: 'optimal', subset: [], objective: 0 });
    expect(solveSubset({ ...empty, service: 'required' }, { expired: never }).status).toBe('infeasible');
    const idle = { facilities: 2, clients: 0, value: new Float64Array(0), service: 'required' as const };
    expect(solveSubset(idle, { expired: never })).toMatchObject({ status: 'optimal', objective: 0 });
    const heavy = { ...idle, clients: 1, value: Float64Array.of(1, 2), use: [[5, 6]], budget: [4] };
    expect(solveSubset(heavy, { expired: never }).status).toBe('infeasible');
    expect(solveSubset({ ...heavy, service: 'optional' }, { expired: never }).subset).toEqual([]);
  });
});
