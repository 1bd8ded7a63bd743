import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { chooseWithin, type GroupOption, relaxedLoss } from './budgeted-choice.js';

const option = fc.record({ sizeBytes: fc.integer({ min: 0, max: 40 }), loss: fc.integer({ min: 0, max: 50 }) });
const groups = fc.array(fc.array(option, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 });
const budget = fc.integer({ min: 0, max: 160 });

/** Every choice there is. */
function bruteForce(all: readonly (readonly GroupOption[])[], budgetBytes: number): number | undefined {
  const [first, ...rest] = all;
  if (first === undefined) return budgetBytes >= 0 ? 0 : undefined;
  const losses = first.flatMap(({ sizeBytes, loss }) => {
    const others = budgetBytes < sizeBytes ? undefined : bruteForce(rest, budgetBytes - sizeBytes);
    return others === undefined ? [] : [others + loss];
  });
  return losses.length === 0 ? undefined : Math.min(...losses);
}

describe('chooseWithin', () => {
  it('loses as little as the best of all choices, and stays within the budget', () => {
    fc.assert(
      fc.property(groups, budget, (all, budgetBytes) => {
        const choice = chooseWithin(all, budgetBytes);
        expect(choice?.loss).toBe(bruteForce(all, budgetBytes));
        if (choice === undefined) return;
        const taken = choice.chosen.map((option, i) => all[i]?.[option]);
        expect(taken.reduce((sum, option) => sum + (option?.sizeBytes ?? Infinity), 0)).toBe(choice.sizeBytes);
        expect(taken.reduce((sum, option) => sum + (option?.loss ?? Infinity), 0)).toBe(choice.loss);
        expect(choice.sizeBytes).toBeLessThanOrEqual(budgetBytes);
        expect(choice.bound).toBe(choice.loss);
      }),
    );
  });

  it('stays within the budget, and says how good it is, where there are too many beginnings to keep', () => {
    fc.assert(
      fc.property(groups, budget, (all, budgetBytes) => {
        const choice = chooseWithin(all, budgetBytes, 3);
        const best = bruteForce(all, budgetBytes);
        expect(choice === undefined).toBe(best === undefined);
        if (choice === undefined || best === undefined) return;
        expect(choice.sizeBytes).toBeLessThanOrEqual(budgetBytes);
        expect(choice.loss).toBeGreaterThanOrEqual(best);
        expect(choice.bound).toBeLessThanOrEqual(best + 1e-9);
      }),
    );
  });

  it('has a relaxation that is never above the best choice', () => {
    fc.assert(
      fc.property(groups, budget, (all, budgetBytes) => {
        const best = bruteForce(all, budgetBytes);
        const relaxed = relaxedLoss(all, budgetBytes);
        if (best === undefined) expect(relaxed).toBe(Infinity);
        else expect(relaxed).toBeLessThanOrEqual(best + 1e-9);
      }),
    );
  });

  it('loses no more with a larger budget', () => {
    fc.assert(
      fc.property(groups, budget, fc.integer({ min: 0, max: 50 }), (all, budgetBytes, more) => {
        const loss = chooseWithin(all, budgetBytes)?.loss ?? Infinity;
        expect(chooseWithin(all, budgetBytes + more)?.loss ?? Infinity).toBeLessThanOrEqual(loss);
      }),
    );
  });
});
