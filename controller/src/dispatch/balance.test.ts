import { classId, expertId } from '@fleetgate/shared/ids';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type Balance, balanced, biasOf, effectiveExperts, MOST_BIAS, type PlannedShares } from './balance.js';

const law = classId('law');
const [a, b] = [expertId('a'), expertId('b')];
const half: PlannedShares = new Map([
  [
    law,
    new Map([
      [a, 0.5],
      [b, 0.5],
    ]),
  ],
]);

describe('balance', () => {
  it('leans towards an expert that gets less than its planned share, and against one that gets more', () => {
    let balance: Balance = new Map();
    for (let request = 0; request < 40; request++) balance = balanced(balance, law, a, half);
    expect(biasOf(balance, law, a)).toBeLessThan(0);
    expect(biasOf(balance, law, b)).toBeGreaterThan(0);
    expect(biasOf(balance, classId('math'), a)).toBe(0);
  });

  it('goes back to nothing where the shares are met', () => {
    let balance: Balance = new Map();
    for (let request = 0; request < 60; request++) balance = balanced(balance, law, a, half);
    for (let request = 0; request < 600; request++) balance = balanced(balance, law, request % 2 === 0 ? a : b, half);
    expect(biasOf(balance, law, a)).toBe(0);
    expect(biasOf(balance, law, b)).toBe(0);
  });

  it('gives no bias to an expert that the plan does not route the class to', () => {
    let balance: Balance = new Map();
    for (let request = 0; request < 100; request++) balance = balanced(balance, law, expertId('c'), half);
    expect(biasOf(balance, law, expertId('c'))).toBe(0);
  });

  it('never moves a value by more than its bound', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(a, b), { minLength: 100, maxLength: 400 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (requests, share) => {
          const planned: PlannedShares = new Map([
            [
              law,
              new Map([
                [a, share],
                [b, 1 - share],
              ]),
            ],
          ]);
          let balance: Balance = new Map();
          for (const expert of requests) balance = balanced(balance, law, expert, planned);
          for (const expert of [a, b]) expect(Math.abs(biasOf(balance, law, expert))).toBeLessThanOrEqual(MOST_BIAS);
        },
      ),
    );
  });

  it('counts experts by how evenly they are used', () => {
    expect(effectiveExperts([5, 5, 5, 5])).toBeCloseTo(4, 9);
    expect(effectiveExperts([10, 0])).toBeCloseTo(1, 9);
  });
});
