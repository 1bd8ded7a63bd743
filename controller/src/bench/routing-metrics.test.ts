import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { meanHeight, pairValue, type RoutedPrompt, routingValue, upperHull } from './routing-metrics.js';

describe('the hull of costs and qualities', () => {
  test('leaves out what a cheaper point or a mixture beats', () => {
    const points = [
      { cost: 1, quality: 0.2 },
      { cost: 2, quality: 0.3 },
      { cost: 3, quality: 0.6 },
      { cost: 4, quality: 0.5 },
      { cost: 5, quality: 0.7 },
    ];
    expect(upperHull(points).map(({ cost }) => cost)).toEqual([1, 3, 5]);
  });

  test('is as high on average as its trapezoids, and flat after its end', () => {
    const hull = [
      { cost: 0, quality: 0 },
      { cost: 1, quality: 1 },
    ];
    expect(meanHeight(hull, 0, 1)).toBeCloseTo(0.5, 12);
    expect(meanHeight(hull, 0, 2)).toBeCloseTo(0.75, 12);
    expect(meanHeight(hull, 0.5, 1)).toBeCloseTo(0.75, 12);
  });
});

const COST = [1, 11] as const;
/** Two experts; the dear one alone answers the second prompt. */
const prompts = (predicted: readonly (readonly number[])[]): RoutedPrompt[] =>
  [
    [1, 1],
    [0, 1],
  ].map((quality, at) => ({ quality, cost: COST, predicted: predicted[at] ?? [], expectedCost: COST }));

describe('average improvement in quality', () => {
  test('of a router that knows: half the dear cost for full quality', () => {
    const value = routingValue(
      prompts([
        [1, 1],
        [0, 1],
      ]),
    );
    // From (1, 0.5) straight to (6, 1), then flat to 11.
    expect(value.aiq).toBeCloseTo(0.875, 12);
    expect(value.zeroAiq).toBeCloseTo(0.75, 12);
  });

  test('of one that knows nothing: what mixing the experts gives', () => {
    const blind = routingValue(
      prompts([
        [0.5, 1],
        [0.5, 1],
      ]),
    );
    expect(blind.aiq).toBeCloseTo(blind.zeroAiq, 12);
  });

  test('is never above what an oracle reaches', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const triple = fc.tuple(share, share, share);
    fc.assert(
      fc.property(fc.array(fc.tuple(triple, triple), { minLength: 1, maxLength: 12 }), (rows) => {
        const cost = [1, 2, 5];
        const build = (predict: (quality: readonly number[], guess: readonly number[]) => readonly number[]) =>
          rows.map(([quality, guess]) => ({ quality, cost, predicted: predict(quality, guess), expectedCost: cost }));
        const guessed = routingValue(build((_, guess) => guess)).aiq;
        expect(guessed).toBeLessThanOrEqual(Math.max(...rows.flatMap(([quality]) => quality)) + 1e-12);
        expect(guessed).toBeGreaterThanOrEqual(
          rows.reduce((sum, [quality]) => sum + quality[0], 0) / rows.length - 1e-12,
        );
      }),
    );
  });
});

describe('two experts', () => {
  const pair = (weak: number, strong: number, gain: number) => ({ weak, strong, gain });

  test('a perfect order recovers the gap with the prompts that make it', () => {
    const value = pairValue([pair(1, 1, 0), pair(0, 1, 2), pair(0, 1, 1), pair(0, 0, 0)]);
    // Recovered after 0..4 prompts: 0, 0.5, 1, 1, 1.
    expect(value.apgr).toBeCloseTo(0.75, 12);
    expect(value).toMatchObject({ cpt50: 0.25, cpt80: 0.5 });
  });

  test('a prompt on which the strong one is worse takes some of it back', () => {
    const value = pairValue([pair(0, 1, 3), pair(1, 0, 2), pair(0, 1, 1)]);
    // Recovered: 0, 1, 0, 1.
    expect(value.apgr).toBeCloseTo(0.5, 12);
    expect(value.cpt50).toBeCloseTo(1 / 3, 12);
  });
});
