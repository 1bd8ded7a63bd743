import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Guess } from './foresight-odds.js';
import { Prefetch, type PrefetchRule } from './prefetch.js';

const SHAPE = { layers: 3, slabsPerLayer: 4 };
const NOTHING_IN_MEMORY = (): boolean => false;
const IDLE = { slabMs: 1, queuedMs: 0 };
const SURE: readonly Guess[] = [{ slab: 4, odds: 1 }];

function scores(...values: number[]): () => Float32Array {
  return () => Float32Array.from(values);
}

function slabsOf(guesses: readonly Guess[]): readonly number[] {
  return guesses.map(({ slab }) => slab);
}

/** Tokens of which those with reading ahead take `withMs`; how many went with it. */
function decode(prefetch: Prefetch, tokens: number, withMs: number, withoutMs: number): number {
  let count = 0;
  for (let token = 0; token < tokens; token++) {
    prefetch.begin();
    const isOn = prefetch.guess(0, 1, scores(1, 0, 0, 0), NOTHING_IN_MEMORY).length > 0;
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

  it('guesses what the next layer’s router may choose and is not in memory, likeliest first', () => {
    const likely = scores(0.3, 0.05, 0.45, 0.2);
    const guessed = (
      layer: number,
      count: number,
      isInMemory: (slab: number) => boolean = NOTHING_IN_MEMORY,
      rule: PrefetchRule = 'always',
    ) => slabsOf(begun(rule).guess(layer, count, likely, isInMemory));
    expect(guessed(1, 1)).toEqual([10, 8]);
    expect(guessed(1, 2)).toEqual([10, 8, 11, 9]);
    expect(guessed(1, 2, (slab) => slab === 10)).toEqual([8, 11, 9]);
    expect(guessed(2, 2)).toEqual([]);
    expect(guessed(1, 2, NOTHING_IN_MEMORY, 'never')).toEqual([]);
    expect(begun('always').guess(1, 2, () => undefined, NOTHING_IN_MEMORY)).toEqual([]);
    expect(begun('always').guess(1, 2, scores(NaN, NaN, NaN, NaN), NOTHING_IN_MEMORY)).toEqual([]);
    // All slabs are used: nothing is left out.
    expect(slabsOf(begun('always').guess(0, 4, likely, NOTHING_IN_MEMORY))).toEqual([6, 4, 7, 5]);
  });

  it('learns from what becomes of its guesses how likely such are', () => {
    const prefetch = begun('always');
    const foretell = (): readonly Guess[] => prefetch.guess(0, 1, scores(0.6, 0.2, 0.1, 0.1), NOTHING_IN_MEMORY);
    for (let i = 0; i < 400; i++) {
      foretell();
      prefetch.came([i % 4 === 0 ? 5 : 4]);
    }
    const [first, second] = foretell();
    expect([first?.slab, second?.slab]).toEqual([4, 5]);
    expect(first?.odds).toBeCloseTo(0.75, 1);
    expect(second?.odds).toBeCloseTo(0.25, 1);
    // A token that is broken off tells nothing.
    prefetch.giveUp();
    for (let i = 0; i < 400; i++) prefetch.came([7]);
    expect(foretell()[0]?.odds).toBe(first?.odds);
  });

  it('expects what it reads until the layer comes or it is given up', () => {
    for (const end of [(one: Prefetch) => one.came([4]), (one: Prefetch) => one.giveUp()]) {
      const prefetch = begun('always');
      prefetch.computed(1);
      expect(prefetch.worthReading(SURE, IDLE)).toEqual([4]);
      expect([prefetch.isExpected(4), prefetch.isExpected(5)]).toEqual([true, false]);
      end(prefetch);
      expect(prefetch.isExpected(4)).toBe(false);
    }
  });

  it('reads what is likelier to be used than to be in the way, for as long as a layer computes', () => {
    const prefetch = begun('always');
    expect(prefetch.worthReading(SURE, IDLE)).toEqual([]);
    for (let i = 0; i < 100; i++) prefetch.computed(2);
    const guesses = [0.95, 0.9, 0.8, 0.7].map((odds, slab) => ({ slab, odds }));
    expect(prefetch.worthReading(guesses, IDLE)).toEqual([0, 1]);
    expect(prefetch.worthReading(guesses, { slabMs: 0.1, queuedMs: 0 })).toEqual([0, 1, 2, 3]);
    expect(prefetch.worthReading(guesses, { slabMs: 1, queuedMs: 1.5 })).toEqual([0]);
    // A tenth of a read is hidden: a guess of 0.95 pays, one of 0.9 has no time left.
    expect(prefetch.worthReading(guesses, { slabMs: 20, queuedMs: 0 })).toEqual([0]);
    expect(prefetch.worthReading(guesses, { slabMs: 200, queuedMs: 0 })).toEqual([]);
    expect(prefetch.worthReading(guesses, { slabMs: NaN, queuedMs: NaN })).toEqual([]);
    expect(prefetch.worthReading([{ slab: 0, odds: 0.5 }], { slabMs: 0.1, queuedMs: 0 })).toEqual([]);
  });

  it('reads no more where storage is slower or busier', () => {
    const odds = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 });
    const time = fc.double({ min: 0.01, max: 50, noNaN: true });
    fc.assert(
      fc.property(
        odds,
        time,
        time,
        time,
        fc.double({ min: 1, max: 10, noNaN: true }),
        (all, ms, slab, queued, more) => {
          const guesses = all.toSorted((a, b) => b - a).map((one, i) => ({ slab: i, odds: one }));
          const count = (slabMs: number, queuedMs: number): number => {
            const prefetch = begun('always');
            prefetch.computed(ms);
            return prefetch.worthReading(guesses, { slabMs, queuedMs }).length;
          };
          const before = count(slab, queued);
          expect(count(slab * more, queued)).toBeLessThanOrEqual(before);
          expect(count(slab, queued * more)).toBeLessThanOrEqual(before);
        },
      ),
    );
  });
});
