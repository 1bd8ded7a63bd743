import { describe, expect, it } from 'vitest';

import { PseudoCosts } from './pseudo-costs.js';

const parent = 10;

describe('PseudoCosts', () => {
  it('prefers a decision in the middle between whole numbers while nothing is known', () => {
    const falls = new PseudoCosts();
    expect(falls.score(0, 0.5)).toBeGreaterThan(falls.score(0, 0.3));
    expect(falls.score(0, 0.3)).toBeCloseTo(falls.score(1, 0.7), 12);
  });

  it('expects of a decision what bounds have fallen per unit, on the mean', () => {
    const falls = new PseudoCosts();
    falls.learn(0, 0.5, { parent, low: 9, high: 8 });
    // 2 per unit down, 4 per unit up.
    expect(falls.score(0, 0.25)).toBeCloseTo(2 * 0.25 * 4 * 0.75, 12);
    falls.learn(0, 0.25, { parent, low: 9, high: 10 });
    expect(falls.score(0, 0.5)).toBeCloseTo((((2 + 4) / 2) * 0.5 * 4 * 0.5) / 2, 12);
  });

  it('takes one that was never branched on for the mean of the others', () => {
    const falls = new PseudoCosts();
    falls.learn(0, 0.5, { parent, low: 9, high: 9 });
    falls.learn(1, 0.5, { parent, low: 7, high: 7 });
    expect(falls.score(2, 0.5)).toBeCloseTo(2 * 2, 12);
    expect(falls.score(0, 0.5)).toBeLessThan(falls.score(2, 0.5));
    expect(falls.score(1, 0.5)).toBeGreaterThan(falls.score(2, 0.5));
  });

  it('counts an empty child as a fall that is large, and no rise as one', () => {
    const falls = new PseudoCosts();
    falls.learn(0, 0.5, { parent, low: -Infinity, high: 11 });
    falls.learn(1, 0.5, { parent, low: 10, high: 10 });
    expect(Number.isFinite(falls.score(0, 0.5))).toBe(true);
    // One empty child is worth following up; two that do not fall are not.
    expect(falls.score(0, 0.5)).toBeGreaterThan(falls.score(1, 0.5));
    expect(falls.score(1, 0.5)).toBeGreaterThan(0);
  });
});

describe('the decisions to learn about', () => {
  const decision = (column: number, rank = 1) =>
    ({ column, rank, lower: 0, upper: 9, branch: { of: 'variant', v: column } }) as const;

  it('are fractional, of the lowest rank, the most promising first, and each only until it is known', () => {
    const falls = new PseudoCosts();
    const decisions = [decision(0), decision(1), decision(2), decision(3, 2)];
    const point = Float64Array.of(1.5, 2.9, 4, 0.5);
    expect(falls.unsure(decisions, point).map(({ decision: { column } }) => column)).toEqual([0, 1]);
    expect(falls.mostPromising(decisions, point)?.column).toBe(0);
    for (let i = 0; i < 4; i++) falls.learn(0, 0.5, { parent: 10, low: 10, high: 10 });
    expect(falls.unsure(decisions, point).map(({ decision: { column } }) => column)).toEqual([1]);
    falls.learn(1, 0.9, { parent: 10, low: 1, high: 1 });
    expect(falls.mostPromising(decisions, point)?.column).toBe(1);
    expect(falls.mostPromising(decisions, Float64Array.of(1, 2, 3, 0.5))?.column).toBe(3);
    expect(falls.mostPromising(decisions, Float64Array.of(1, 2, 3, 4))).toBeUndefined();
  });
});
