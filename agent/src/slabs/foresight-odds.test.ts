import { describe, expect, it } from 'vitest';

import { ForesightOdds } from './foresight-odds.js';

describe('odds of a foretold choice', () => {
  it('are what has been seen at that distance from the border, on that side of it', () => {
    const odds = new ForesightOdds();
    for (let i = 0; i < 4000; i++) {
      odds.saw(0.5, i % 10 > 0);
      odds.saw(-0.5, i % 10 === 0);
      odds.saw(0.05, i % 2 === 0);
    }
    expect(odds.of(0.5)).toBeCloseTo(0.9, 1);
    expect(odds.of(-0.5)).toBeCloseTo(0.1, 1);
    expect(odds.of(0.05)).toBeCloseTo(0.5, 1);
  });

  it('are modest before anything is seen, and follow a change', () => {
    const odds = new ForesightOdds();
    expect([odds.of(1), odds.of(-1), odds.of(Infinity), odds.of(-Infinity), odds.of(0)]).toEqual([
      0.5, 0.1, 0.5, 0.1, 0.5,
    ]);
    for (let i = 0; i < 3000; i++) odds.saw(1, true);
    expect(odds.of(1)).toBeGreaterThan(0.99);
    for (let i = 0; i < 5000; i++) odds.saw(1, false);
    expect(odds.of(1)).toBeLessThan(0.01);
  });
});
