import { describe, expect, it } from 'vitest';

import { milliseconds } from '@fleetgate/shared/units/quantity';

import { CRASHES_TO_DOWN, SOUND_AFTER, decideRestart } from './restart-policy.js';

describe('decideRestart', () => {
  it('waits longer after each quick crash and is down after several', () => {
    const delays: number[] = [];
    let crashes = 0;
    for (let i = 1; i < CRASHES_TO_DOWN; i++) {
      const decision = decideRestart(crashes, milliseconds(10));
      expect(decision.state).toBe('restarting');
      delays.push(decision.delay);
      ({ crashes } = decision);
    }
    expect(delays).toEqual([250, 500, 1000, 2000]);
    expect(decideRestart(crashes, milliseconds(10))).toMatchObject({ state: 'down', delay: 30_000 });
  });

  it('forgets earlier crashes after a sound life', () => {
    expect(decideRestart(7, SOUND_AFTER)).toMatchObject({ state: 'restarting', crashes: 1 });
  });
});
