import { describe, expect, it } from 'vitest';

import { Prefetch, type PrefetchRule } from './prefetch.js';

const SHAPE = { layers: 3, slabsPerLayer: 4 };
const NOTHING_IN_MEMORY = (): boolean => false;

function scores(...values: number[]): () => Float32Array {
  return () => Float32Array.from(values);
}

/** Tokens of which those with reading ahead take `withMs`; how many went with it. */
function decode(prefetch: Prefetch, tokens: number, withMs: number, withoutMs: number): number {
  let count = 0;
  for (let token = 0; token < tokens; token++) {
    prefetch.begin();
    const isOn = prefetch.worthReading(0, 1, scores(1, 0, 0, 0), NOTHING_IN_MEMORY).length > 0;
    prefetch.took(isOn ? withMs : withoutMs);
    if (isOn) count++;
  }
  return count;
}

function begun(rule: PrefetchRule): Prefetch {
  const prefetch = new Prefetch(SHAPE, rule);
  prefetch.begin();
  return prefetch;
}

describe('reading ahead by prediction', () => {
  it('tries both ways at first, and stays with the quicker one but for a trial now and then', () => {
    const paying = new Prefetch(SHAPE);
    expect(decode(paying, 64, 8, 10)).toBe(32);
    expect(decode(paying, 1280, 8, 10)).toBe(1120);
    // What has changed is found out.
    decode(paying, 2000, 12, 10);
    expect(decode(paying, 1280, 12, 10)).toBe(160);
    const costly = new Prefetch(SHAPE);
    expect(decode(costly, 64 + 1280, 9.9, 10)).toBe(32 + 160);
  });

  it('guesses what the next layer’s router holds likely and is not in memory, likeliest first', () => {
    const prefetch = begun('always');
    const likely = scores(0.3, 0.05, 0.45, 0.2);
    expect(prefetch.worthReading(1, 2, likely, NOTHING_IN_MEMORY)).toEqual([10, 8]);
    expect(prefetch.worthReading(1, 3, likely, (slab) => slab === 10)).toEqual([8, 11]);
    expect(prefetch.worthReading(2, 2, likely, NOTHING_IN_MEMORY)).toEqual([]);
    expect(prefetch.worthReading(1, 2, () => undefined, NOTHING_IN_MEMORY)).toEqual([]);
    expect(prefetch.worthReading(1, 2, scores(NaN, NaN, NaN, NaN), NOTHING_IN_MEMORY)).toEqual([]);
    expect(begun('never').worthReading(1, 2, likely, NOTHING_IN_MEMORY)).toEqual([]);
  });

  it('expects a guess until it gives it up', () => {
    const prefetch = begun('always');
    prefetch.worthReading(0, 1, scores(0, 1, 0, 0), NOTHING_IN_MEMORY);
    expect([prefetch.isExpected(5), prefetch.isExpected(4)]).toEqual([true, false]);
    prefetch.giveUp();
    expect(prefetch.isExpected(5)).toBe(false);
  });
});
