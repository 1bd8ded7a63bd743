import { ManualClock } from '@fleetgate/shared/clock';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { EventClock } from './event-clock.js';

const START = 1_700_000_000_000;

describe('EventClock', () => {
  it('fires what a manual clock fires, when it does, whatever timers set and cancel each other', async () => {
    const timer = fc.record({
      delay: fc.integer({ min: 0, max: 50 }),
      repeats: fc.boolean(),
      /** Timer that this one cancels when it fires, by its index. */
      cancels: fc.option(fc.nat(9), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(timer, { maxLength: 10 }), async (timers) => {
        const play = (clock: EventClock | ManualClock): string[] => {
          const fired: string[] = [];
          const cancel = timers.map(({ delay, repeats, cancels }, n) => {
            const run = (): void => {
              fired.push(`${n}@${clock.now() - START}`);
              if (cancels !== undefined) cancel[cancels]?.();
            };
            return repeats ? clock.every(milliseconds(delay + 1), run) : clock.after(milliseconds(delay), run);
          });
          return fired;
        };
        const manual = new ManualClock(START);
        const expected = play(manual);
        manual.advance(120);
        const clock = new EventClock(START);
        const fired = play(clock);
        await clock.runUntil(unixMs(START + 120), () => undefined);
        expect(clock.now()).toBe(START + 120);
        expect(fired).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it('lets what a timer has begun come to rest before time moves on', async () => {
    const clock = new EventClock(START);
    const seen: number[] = [];
    clock.after(milliseconds(10), () => {
      void Promise.resolve()
        .then(() => Promise.resolve())
        .then(() => seen.push(clock.now() - START));
    });
    clock.after(milliseconds(20), () => seen.push(-1));
    await clock.runUntil(unixMs(START + 30), () => new Promise((resolve) => setImmediate(resolve)));
    expect(seen).toEqual([10, -1]);
  });
});
