import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import { poissonArrivals } from './arrivals.js';
import { drawFaults, victimOf } from './faults.js';
import { offerOpenLoop } from './open-loop.js';
import type { Offered } from './outcome.js';

const PAIRS = [{ domain: 'd', prompt: 'p', completion: 'c' }];

/** A client whose time is moved by its own sleeping, and whose requests end when they are told to. */
function scripted(mostAtOnce: number) {
  let now = 1000;
  const sent: { readonly dueAt: number; readonly at: number; readonly end: () => void }[] = [];
  const parts = {
    now: () => now,
    sleep: (ms: number) => {
      now += ms;
      return Promise.resolve();
    },
    send: (arrival: { readonly streamed: boolean }, traceId: string, dueAt: number) =>
      new Promise<Offered>((resolve) => {
        const outcome = { kind: 'answered' } as const;
        const { streamed } = arrival;
        const common = { traceId, requestId: traceId, streamed, lateMs: now - dueAt, firstTokenMs: undefined };
        sent.push({ dueAt, at: now, end: () => resolve({ ...common, totalMs: 0, outcome }) });
      }),
    traceId: String,
    mostAtOnce,
  };
  return { parts, sent };
}

describe('an open loop', () => {
  it('sends when requests are due, whatever became of those before, and tells what it could not send', async () => {
    const arrivals = [5, 10, 20].map((atMs) => ({ atMs, prompt: 'p', maxTokens: 8, streamed: false }));
    const { parts, sent } = scripted(2);
    const offering = offerOpenLoop(arrivals, parts, new AbortController().signal);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(sent.map(({ dueAt, at }) => [dueAt, at])).toEqual([
      [1005, 1005],
      [1010, 1010],
    ]);
    for (const { end } of sent) end();
    expect((await offering).map(({ outcome }) => outcome.kind)).toEqual(['answered', 'answered', 'unoffered']);
  });

  it('draws arrivals and faults that its seed repeats', () => {
    const draw = (seed: number) => poissonArrivals(new SeededRandom(seed), 50, 60_000, PAIRS);
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    // 3,000 of them in the mean; five standard deviations.
    expect(Math.abs(draw(1).length - 3000)).toBeLessThan(5 * Math.sqrt(3000));
    expect(draw(1).every(({ atMs }, at, all) => atMs > (all[at - 1]?.atMs ?? 0) && atMs < 60_000)).toBe(true);
    for (const durationMs of [15_000, 120_000, 600_000]) {
      const [kill, freeze] = drawFaults(new SeededRandom(3), durationMs);
      expect((kill?.atMs ?? Infinity) + (kill?.forMs ?? 0)).toBeLessThan(freeze?.atMs ?? 0);
      expect((freeze?.atMs ?? Infinity) + (freeze?.forMs ?? 0)).toBeLessThan(durationMs);
    }
  });

  it('spares who was struck last, where there is another', () => {
    const [kill] = drawFaults(new SeededRandom(1), 60_000);
    if (kill === undefined) throw new Error('no fault was drawn');
    expect(victimOf(kill, ['a', 'b'], 'a')).toBe('b');
    expect(victimOf(kill, ['a'], 'a')).toBe('a');
    expect(victimOf(kill, [], 'a')).toBeUndefined();
  });
});
