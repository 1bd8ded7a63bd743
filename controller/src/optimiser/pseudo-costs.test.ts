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
