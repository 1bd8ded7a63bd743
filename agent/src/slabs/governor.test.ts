import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type UnixMs, after, milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { AT_EASE, type DeviceState, govern, governedSlabs, strainOf } from './governor.js';

const START = unixMs(1_000_000);
const at = (ms: number): UnixMs => after(START, milliseconds(ms));

describe('strainOf', () => {
  it.each<[string, DeviceState, number]>([
    ['nothing known', {}, 0],
    ['cool', { temperatureC: 40, throttleC: 85 }, 0],
    ['half warm', { temperatureC: 78.5, throttleC: 85 }, 0.5],
    ['hot', { temperatureC: 82, throttleC: 85 }, 1],
    ['throttled, whatever the thermometer says', { temperatureC: 30, throttled: true }, 1],
    ['a full battery', { batteryRatio: 1, onBattery: true }, 0],
    ['a low battery', { batteryRatio: 0.275, onBattery: true }, 0.5],
    ['an empty battery', { batteryRatio: 0.1, onBattery: true }, 1],
    ['an empty battery on the charger', { batteryRatio: 0.1, onBattery: false }, 0],
    ['an empty battery and nobody says whether it charges', { batteryRatio: 0.1 }, 1],
  ])('%s', (_, state, ratio) => expect(strainOf(state).ratio).toBeCloseTo(ratio));

  it('gives the worse of heat and battery as the reason', () => {
    expect(strainOf({ temperatureC: 80, throttleC: 85, batteryRatio: 0.39 }).reason).toBe('80 °C, throttles at 85 °C');
    expect(strainOf({ temperatureC: 76, throttleC: 85, batteryRatio: 0.2 }).reason).toBe('battery at 20 %');
  });
});

describe('govern', () => {
  const hot = { temperatureC: 90 };
  const cool = { temperatureC: 40 };

  it('strains at once, and relaxes when it has been easier for half a minute', () => {
    let state = govern(AT_EASE, hot, at(0));
    expect(state.strain.ratio).toBe(1);
    for (const ms of [1000, 15_000, 30_999]) {
      state = govern(state, cool, at(ms));
      expect(state.strain.ratio).toBe(1);
    }
    expect(govern(state, cool, at(31_000)).strain.ratio).toBe(0);
  });

  it('counts the half minute anew after another hot moment', () => {
    let state = govern(govern(AT_EASE, hot, at(0)), cool, at(1000));
    state = govern(govern(state, hot, at(20_000)), cool, at(21_000));
    expect(govern(state, cool, at(40_000)).strain.ratio).toBe(1);
    expect(govern(state, cool, at(51_000)).strain.ratio).toBe(0);
  });
});

describe('governedSlabs', () => {
  it('stays between what the plan allows, fewer the more strain', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 16 }),
        fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (most, least, ratio) => {
          const slabs = governedSlabs(most, least, { ratio, reason: '' });
          expect(slabs).toBeLessThanOrEqual(most);
          expect(slabs).toBeGreaterThanOrEqual(Math.min(most, least ?? most));
          expect(slabs).toBeGreaterThanOrEqual(governedSlabs(most, least, { ratio: 1, reason: '' }));
        },
      ),
    );
    expect([0, 0.4, 1].map((ratio) => governedSlabs(4, 1, { ratio, reason: '' }))).toEqual([4, 3, 1]);
    expect(governedSlabs(4, undefined, { ratio: 1, reason: '' })).toBe(4);
  });
});
