import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '@fleetgate/shared/random';

import { randomGate } from '../bench/random-gates.js';
import { eachSubset } from './exhaustive-subsets.js';
import { gateSubsetProblem } from './gate-subset.js';
import { randomSubsetProblems } from './subset.fixture.js';
import { listSubsets } from './subset-list.js';
import { subsetForm, type SubsetProblem } from './subset-problem.js';

const never = () => false;

/** All subsets worth more than `above`, by falling value. */
function everySubset(problem: SubsetProblem, above: number) {
  const all: { members: number[]; value: number }[] = [];
  eachSubset(subsetForm(problem), (members, value) => {
    if (value > above) all.push({ members: [...members], value });
  });
  return all.sort((a, b) => b.value - a.value);
}

describe('listSubsets', () => {
  it('lists just the subsets above the threshold, the best first', () => {
    fc.assert(
      fc.property(randomSubsetProblems, fc.double({ min: 0, max: 1, noNaN: true }), (problem, share) => {
        const all = everySubset(problem, -Infinity);
        // Between two values that differ: which side a value falls on must not depend on rounding.
        const values = all.map(({ value }) => value);
        const at = Math.floor(share * values.length);
        const above = ((values[at] ?? -1e9) + (values.slice(at).find((v) => v < (values[at] ?? 0) - 1e-6) ?? -1e9)) / 2;
        const list = listSubsets(problem, { above, most: 5000, expired: never });
        const expected = all.filter(({ value }) => value > above);
        expect(list.status).toBe('complete');
        expect(list.bound).toBe(above);
        expect(list.subsets.map(({ members }) => members.join()).toSorted()).toEqual(
          expected.map(({ members }) => members.join()).toSorted(),
        );
        list.subsets.forEach(({ value }, i) => expect(value).toBeCloseTo(expected[i]?.value ?? NaN, 9));
      }),
      { numRuns: 600, seed: 5 },
    );
  });

  it('keeps the best when there are too many, and says so', () => {
    fc.assert(
      fc.property(randomSubsetProblems, fc.integer({ min: 1, max: 12 }), (problem, most) => {
        const all = everySubset(problem, -1e9);
        const list = listSubsets(problem, { above: -1e9, most, expired: never });
        expect(list.subsets).toHaveLength(Math.min(most, all.length));
        list.subsets.forEach(({ value }, i) => expect(value).toBeCloseTo(all[i]?.value ?? NaN, 9));
        const next = all[list.subsets.length]?.value ?? -Infinity;
        expect(list.bound).toBeGreaterThanOrEqual(next - 1e-9);
        if (list.status === 'complete') expect(all.length).toBeLessThanOrEqual(most);
      }),
      { numRuns: 600, seed: 6 },
    );
  });

  it('bounds what it did not get to', () => {
    const shape = {
      experts: 12,
      classes: 6,
      structure: 'spread',
      maxExperts: 4,
      budgetShare: 0.5,
      minReplicas: 0,
    } as const;
    const problem = gateSubsetProblem(randomGate(new SeededRandom(2), shape));
    const all = everySubset(problem, 0);
    for (const looks of [1, 10, 100]) {
      let left = looks;
      const list = listSubsets(problem, { above: 0, most: 5000, expired: () => --left < 0 });
      expect(list.status).toBe('timeout');
      const listed = new Set(list.subsets.map(({ members }) => members.join()));
      const best = all.find(({ members }) => !listed.has(members.join()))?.value ?? -Infinity;
      expect(list.bound).toBeGreaterThanOrEqual(best - 1e-9);
    }
  });
});
