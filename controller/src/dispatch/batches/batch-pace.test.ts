import { milliseconds } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { pauseAfter, roomForLines } from './batch-pace.js';

const load = fc.record({
  idleDevices: fc.nat(20),
  inFlight: fc.nat(300),
  maxInFlight: fc.integer({ min: 4, max: 256 }),
  linesUnderWay: fc.nat(4),
});

describe('roomForLines', () => {
  it('never takes the last places, more devices than are idle, nor the last idle one from clients who wait', () => {
    fc.assert(
      fc.property(load, (one) => {
        const room = roomForLines(one);
        expect(room).toBeGreaterThanOrEqual(0);
        if (room === 0) return;
        expect(room + one.linesUnderWay).toBeLessThanOrEqual(4);
        expect(room).toBeLessThanOrEqual(one.idleDevices);
        expect(one.inFlight + room).toBeLessThanOrEqual(0.75 * one.maxInFlight);
        if (one.inFlight > one.linesUnderWay) expect(room).toBeLessThan(one.idleDevices);
      }),
    );
    expect(roomForLines({ idleDevices: 2, inFlight: 0, maxInFlight: 256, linesUnderWay: 0 })).toBe(2);
    expect(roomForLines({ idleDevices: 1, inFlight: 1, maxInFlight: 256, linesUnderWay: 0 })).toBe(0);
  });
});

describe('pauseAfter', () => {
  it('is at least what was asked for, doubles, and ends at five minutes', () => {
    expect([1, 2, 3, 50].map((times) => pauseAfter(times, undefined))).toEqual([1000, 2000, 4000, 300_000]);
    expect(pauseAfter(1, milliseconds(30_000))).toBe(30_000);
  });
});
