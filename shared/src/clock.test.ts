import { describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

describe('ManualClock', () => {
  it('fires timers in order of their due time', () => {
    const clock = new ManualClock(0);
    const fired: string[] = [];
    clock.after(milliseconds(20), () => fired.push('late'));
    clock.every(milliseconds(10), () => fired.push(`tick ${clock.now()}`));
    clock.advance(25);
    expect(fired).toEqual(['tick 10', 'late', 'tick 20']);
    expect(clock.now()).toBe(25);
  });
});
