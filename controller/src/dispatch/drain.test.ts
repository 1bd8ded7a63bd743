import { ManualClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { drained } from './drain.js';

/** Lets what waits for the clock go on, step by step. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) {
    clock.advance(10);
    await Promise.resolve();
    await Promise.resolve();
  }
}

describe('drained', () => {
  it('resolves at once where nothing is in flight', async () => {
    expect(await drained(() => 0, milliseconds(1000), new ManualClock())).toBe(0);
  });

  it('waits for the last request', async () => {
    const clock = new ManualClock();
    let inFlight = 2;
    let left: number | undefined;
    void drained(() => inFlight, milliseconds(1000), clock).then((count) => (left = count));
    await pass(clock, 500);
    expect(left).toBeUndefined();
    inFlight = 0;
    await pass(clock, 50);
    expect(left).toBe(0);
  });

  it('does not wait longer than the deadline', async () => {
    const clock = new ManualClock();
    let left: number | undefined;
    void drained(() => 3, milliseconds(1000), clock).then((count) => (left = count));
    await pass(clock, 1100);
    expect(left).toBe(3);
  });
});
