import { describe, expect, it } from 'vitest';

import { bytes, elapsed, energy, joules, milliseconds, sum, unixMs, watts } from '@fleetgate/shared/units/quantity';

describe('quantities', () => {
  it('turns power over time into energy', () => {
    expect(energy(watts(10), milliseconds(1500))).toBe(15);
  });

  it('adds like quantities', () => {
    expect(sum([joules(1), joules(2.5)])).toBe(3.5);
    expect(sum<ReturnType<typeof joules>>([])).toBe(0);
  });

  it('measures from one instant to another', () => {
    expect(elapsed(unixMs(1000), unixMs(400))).toBe(-600);
  });

  it.each([NaN, Infinity, -Infinity])('refuses %s', (value) => {
    expect(() => joules(value)).toThrow(RangeError);
    expect(() => bytes(value)).toThrow(RangeError);
  });

  it('refuses a negative size', () => {
    expect(() => bytes(-1)).toThrow(RangeError);
  });
});
