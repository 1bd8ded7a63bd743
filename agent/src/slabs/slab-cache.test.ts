import fc from 'fast-check';
import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import {
  belady,
  type CachePolicy,
  decayedFrequency,
  fixedWorth,
  lookahead,
  recency,
  type RoutingTrace,
} from './cache-policy.js';
import { frequenciesOf, simulateCache } from './cache-simulation.js';
import { type CacheShape, SlabCache } from './slab-cache.js';

const LAYERS = 3;
const SLABS = 8;
const ALL = LAYERS * SLABS;
const PER_TOKEN = 2;
const SHAPE: CacheShape = { slabsPerLayer: SLABS, slabBytes: [10, 10, 10], capacityBytes: 90 };
const FROM_START = { warmUp: 0, filled: false };

const slabs = fc.uniqueArray(fc.integer({ min: 0, max: SLABS - 1 }), { minLength: PER_TOKEN, maxLength: PER_TOKEN });
const traces: fc.Arbitrary<RoutingTrace> = fc.array(
  fc.array(
    slabs.map((ids) => Int32Array.from(ids)),
    { minLength: LAYERS, maxLength: LAYERS },
  ),
  { minLength: 1, maxLength: 60 },
);

function policies(trace: RoutingTrace): readonly CachePolicy[] {
  return [
    decayedFrequency(ALL),
    decayedFrequency(ALL, frequenciesOf(trace, SHAPE)),
    recency(ALL),
    fixedWorth(ALL, frequenciesOf(trace, SHAPE)),
    lookahead(SLABS, trace.slice(0, 10), decayedFrequency(ALL)),
    belady(ALL, SLABS, trace),
  ];
}

describe('SlabCache', () => {
  it('never exceeds its capacity, nor evicts what is wanted or held', () => {
    fc.assert(
      fc.property(traces, fc.array(fc.integer({ min: 0, max: ALL - 1 }), { maxLength: 3 }), (trace, pinned) => {
        for (const policy of policies(trace)) {
          const shape = { ...SHAPE, slabBytes: [10, 20, 15] };
          const cache = new SlabCache(shape, policy);
          const mine = new Set<number>();
          const own = [...new Set(pinned)];
          expect(cache.request(own)?.missing).toEqual(own);
          for (const slab of own) mine.add(slab);
          for (const layers of trace) {
            cache.begin(1);
            for (const [layer, used] of layers.entries()) {
              const wanted = [...used].map((slab) => layer * SLABS + slab);
              cache.routed({ layer, tokens: 1, slabsPerToken: PER_TOKEN, slabs: used });
              const admission = cache.request(wanted, { kind: 'below-first', layer });
              if (admission !== undefined) {
                for (const slab of admission.evicted) {
                  expect(mine.delete(slab)).toBe(true);
                  expect([...wanted, ...own]).not.toContain(slab);
                }
                for (const slab of admission.missing) mine.add(slab);
                expect(wanted.every((slab) => cache.isResident(slab) && mine.has(slab))).toBe(true);
              }
              expect(own.every((slab) => cache.isResident(slab))).toBe(true);
              const bytes = [...mine].reduce((sum, slab) => sum + (shape.slabBytes[Math.floor(slab / SLABS)] ?? 0), 0);
              expect(cache.bytes).toBe(bytes);
              expect(bytes).toBeLessThanOrEqual(shape.capacityBytes);
              cache.release(wanted.filter((slab) => !own.includes(slab)));
            }
          }
        }
      }),
    );
  });

  it('changes nothing when what is wanted does not fit beside what is held', () => {
    const cache = new SlabCache({ ...SHAPE, capacityBytes: 40 }, recency(ALL));
    cache.request([0, 1]);
    cache.request([2, 3]);
    cache.release([2, 3]);
    expect(cache.request([8, 9, 10])).toBeUndefined();
    expect([0, 1, 2, 3].every((slab) => cache.isResident(slab))).toBe(true);
    expect(cache.isHeld(8)).toBe(false);
    expect(cache.request([8, 9])).toEqual({ evicted: [2, 3], missing: [8, 9] });
  });

  it('evicts what is worth least after it was told what to expect', () => {
    const frequencies = fc.array(fc.double({ min: 0, max: 2, noNaN: true }), { minLength: ALL, maxLength: ALL });
    fc.assert(
      fc.property(traces, frequencies, (trace, expected) => {
        const policy = decayedFrequency(ALL);
        const cache = new SlabCache(SHAPE, policy);
        for (const layers of trace) {
          cache.begin(1);
          for (const [layer, slabs] of layers.entries()) {
            cache.routed({ layer, tokens: 1, slabsPerToken: PER_TOKEN, slabs });
            const wanted = [...slabs].map((slab) => layer * SLABS + slab);
            cache.request(wanted);
            cache.release(wanted);
          }
        }
        cache.expect(expected);
        const all = Array.from({ length: ALL }, (_, slab) => slab);
        const absent = all.find((slab) => !cache.isResident(slab));
        if (absent === undefined) return;
        const there = all.filter((slab) => cache.isResident(slab)).map((slab) => policy.scores[slab] ?? 0);
        const [evicted] = cache.request([absent])?.evicted ?? [];
        if (evicted !== undefined) expect(policy.scores[evicted]).toBe(Math.min(...there));
      }),
    );
  });

  it('takes room from the layers that a streaming batch has passed before it takes from those to come', () => {
    const cache = new SlabCache({ ...SHAPE, capacityBytes: 30 }, fixedWorth(ALL, [9, 9, 9]));
    cache.request([0, SLABS, 2 * SLABS]);
    cache.release([0, SLABS, 2 * SLABS]);
    expect(cache.request([SLABS + 1], { kind: 'below-first', layer: 1 })?.evicted).toEqual([0]);
    expect(cache.request([SLABS + 2], { kind: 'anywhere' })?.evicted).toEqual([SLABS]);
  });

  it('gives way when its room becomes less, lowest first, and takes it back', () => {
    const cache = new SlabCache({ ...SHAPE, capacityBytes: 40 }, fixedWorth(ALL, [4, 1, 3, 2]));
    cache.request([0, 1, 2, 3]);
    cache.release([0, 1, 2]);
    expect(cache.resize(20)).toEqual([1, 2]);
    expect([cache.bytes, cache.capacityBytes, cache.isResident(3)]).toEqual([20, 20, true]);
    // What is held stays.
    expect(cache.resize(0)).toEqual([0]);
    expect(cache.bytes).toBe(10);
    cache.resize(40);
    expect(cache.request([0, 1, 2])).toEqual({ evicted: [], missing: [0, 1, 2] });
  });

  it('gives a slab back that could not be read', () => {
    const cache = new SlabCache({ ...SHAPE, capacityBytes: 10 }, recency(ALL));
    cache.request([4]);
    cache.drop(4);
    expect([cache.bytes, cache.isResident(4), cache.isHeld(4)]).toEqual([0, false, false]);
    expect(cache.request([5])).toEqual({ evicted: [], missing: [5] });
  });
});

describe('cache policies', () => {
  it('lose to Belady on every trace, which never misses what fits', () => {
    fc.assert(
      fc.property(traces, fc.integer({ min: 2, max: ALL }), (trace, fit) => {
        const shape = { ...SHAPE, capacityBytes: 10 * fit };
        const best = simulateCache(trace, shape, belady(ALL, SLABS, trace), FROM_START);
        for (const policy of policies(trace)) {
          expect(simulateCache(trace, shape, policy, FROM_START).hits).toBeLessThanOrEqual(best.hits);
        }
        if (fit === ALL) {
          const distinct = new Set(trace.flatMap((row) => row.flatMap((ids, l) => [...ids].map((s) => l * SLABS + s))));
          expect(best.bytesRead).toBe(10 * distinct.size);
        }
      }),
    );
  });

  it('know the whole future as Belady does when they look ahead over all of it', () => {
    fc.assert(
      fc.property(traces, (trace) => {
        const known = simulateCache(trace, SHAPE, lookahead(SLABS, trace, recency(ALL)), FROM_START);
        expect(known.hits).toBe(simulateCache(trace, SHAPE, belady(ALL, SLABS, trace), FROM_START).hits);
      }),
    );
  });

  it('keep with decay 1 the slab used most, and with strong decay the one used last', () => {
    const use = (policy: CachePolicy): number | undefined => {
      const cache = new SlabCache({ ...SHAPE, capacityBytes: 20 }, policy);
      for (const slab of [0, 0, 0, 1]) {
        cache.begin(1);
        cache.routed({ layer: 0, tokens: 1, slabsPerToken: 1, slabs: Int32Array.of(slab) });
        cache.request([slab]);
        cache.release([slab]);
      }
      return cache.request([2])?.evicted[0];
    };
    expect(use(decayedFrequency(ALL, undefined, 1))).toBe(1);
    expect(use(decayedFrequency(ALL, undefined, 0.3))).toBe(0);
    expect(use(recency(ALL))).toBe(0);
  });

  it('count a batch as they would count its tokens one by one, over any number of tokens', () => {
    fc.assert(
      fc.property(fc.array(slabs, { minLength: 1, maxLength: 50 }), (tokens) => {
        const [together, single] = [decayedFrequency(SLABS), decayedFrequency(SLABS)];
        together.begin(tokens.length);
        for (const [token, used] of tokens.entries()) {
          single.begin(1);
          for (const slab of used) {
            together.used(slab, token);
            single.used(slab, 0);
          }
        }
        for (let slab = 0; slab < SLABS; slab++) {
          const a = together.scores[slab] ?? 0;
          const b = single.scores[slab] ?? 0;
          expect(Math.abs(a - b)).toBeLessThanOrEqual(1e-9 * Math.max(1, b));
        }
      }),
    );
    const long = decayedFrequency(2);
    for (let token = 0; token < 50_000; token++) {
      long.begin(1);
      long.used(token % 4 === 0 ? 1 : 0, 0);
    }
    expect(long.scores.every(Number.isFinite)).toBe(true);
    expect(long.scores[0]).toBeGreaterThan(long.scores[1] ?? Infinity);
  });

  it('count by the router’s scores where they are known: what was almost chosen stays longer than what was not', () => {
    const cache = new SlabCache({ ...SHAPE, capacityBytes: 30 }, decayedFrequency(ALL));
    const scores = (...first: number[]): Float32Array => Float32Array.from({ length: SLABS }, (_, i) => first[i] ?? 0);
    const route = (slab: number, probabilities: Float32Array): void => {
      cache.begin(1);
      cache.routed({ layer: 0, tokens: 1, slabsPerToken: 1, slabs: Int32Array.of(slab), probabilities });
    };
    cache.request([0, 1, 2]);
    cache.release([0, 1, 2]);
    route(0, scores(0.5, 0.1, 0.4));
    route(0, scores(0.5, 0.1, 0.4));
    route(1, scores(0.3, 0.4, 0.3));
    expect(cache.request([5])?.evicted).toEqual([1]);
    cache.release([5]);
    // Counting uses, 2 was never used and would have gone first.
    expect(cache.request([6])?.evicted).toEqual([5]);
  });

  it('read no more with the router’s scores than without, where scores tell what comes', () => {
    const random = new SeededRandom(3);
    const likely = Array.from({ length: SLABS }, () => random.uniform() ** 4);
    const sum = likely.reduce((all, one) => all + one, 0);
    const scores = Float32Array.from(likely, (one) => one / sum);
    const draw = (): number => {
      let left = random.uniform() * sum;
      const at = likely.findIndex((one) => (left -= one) < 0);
      return at < 0 ? SLABS - 1 : at;
    };
    const trace = Array.from({ length: 2000 }, () => [Int32Array.of(draw())]);
    const shape = { slabsPerLayer: SLABS, slabBytes: [1], capacityBytes: 3 };
    const probabilities = trace.map(() => [scores]);
    const counted = simulateCache(trace, shape, decayedFrequency(SLABS), FROM_START);
    const scored = simulateCache(trace, shape, decayedFrequency(SLABS), { ...FROM_START, probabilities });
    expect(scored.bytesRead).toBeLessThan(counted.bytesRead);
  });

  it('keep a hot slab that a profile names before it was ever used', () => {
    const frequencies = new Float64Array(ALL);
    frequencies[3] = 1;
    const cache = new SlabCache({ ...SHAPE, capacityBytes: 20 }, decayedFrequency(ALL, frequencies));
    expect(cache.worthMost()[0]).toBe(3);
    cache.request([3, 4]);
    cache.release([3, 4]);
    expect(cache.request([5])?.evicted).toEqual([4]);
  });
});
