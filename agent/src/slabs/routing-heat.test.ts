import { heatShares } from '@fleetgate/shared/catalogue/slab-heat';
import { describe, expect, it } from 'vitest';

import { RoutingHeat } from './routing-heat.js';

const LAYERS = 2;
const SLABS = 4;

function routed(heat: RoutingHeat, tokens: number, slab: number): void {
  for (let layer = 0; layer < LAYERS; layer++) {
    heat.routed({ layer, tokens, slabsPerToken: 1, slabs: new Int32Array(tokens).fill(slab) });
  }
}

describe('RoutingHeat', () => {
  it('tells nothing until there is something to tell', () => {
    const heat = new RoutingHeat(LAYERS, SLABS);
    routed(heat, 1000, 1);
    expect(heat.tell()).toBeUndefined();
    routed(heat, 24, 2);
    expect(heat.tell()?.tokens).toBe(1024);
    expect(heat.tell()).toBeUndefined();
  });

  it('forgets: what is chosen now weighs more than what was chosen long ago', () => {
    const heat = new RoutingHeat(LAYERS, SLABS);
    for (let round = 0; round < 64; round++) {
      routed(heat, 1024, 0);
      heat.tell();
    }
    for (let round = 0; round < 64; round++) {
      routed(heat, 1024, 3);
      heat.tell();
    }
    routed(heat, 1024, 3);
    const told = heat.tell();
    const [first = []] = told === undefined ? [] : heatShares(told);
    expect(first[3]).toBeGreaterThan(0.75);
    expect(first[0]).toBeLessThan(0.25);
    // As many as a half-life holds, times 1 / ln 2.
    expect(told?.tokens).toBeLessThan(32_768 / Math.LN2 + 1024);
  });
});
