import { describe, expect, it } from 'vitest';

import { heatShares, slabHeatOf, slabHeatSchema } from './slab-heat.js';

describe('heat of slabs', () => {
  it('tells the share of choices of each slab', () => {
    const heat = slabHeatSchema.parse(slabHeatOf(100.4, [Float64Array.of(50, 25, 25, 0), Float64Array.of(0, 0, 0, 0)]));
    expect(heat.tokens).toBe(100);
    const [first = [], second = []] = heatShares(heat);
    expect(first[0]).toBeCloseTo(0.5, 2);
    expect(first[3]).toBe(0);
    expect([...first].reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    expect([...second]).toEqual([0, 0, 0, 0]);
  });

  it('is refused where it is no base64', () => {
    expect(slabHeatSchema.safeParse({ tokens: 1, layers: ['!!'] }).success).toBe(false);
  });
});
