import { deviceId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isSuspect, othersHeard, type SilenceFacts, usualSilence } from './silence.js';

const HEARTBEAT = milliseconds(5000);

/** Of a device that is heard all the time while it has jobs. */
const facts = (silentMs: number, more: Partial<SilenceFacts> = {}): SilenceFacts => ({
  silent: milliseconds(silentMs),
  sinceTelemetry: milliseconds(8000),
  heartbeat: HEARTBEAT,
  usual: milliseconds(50),
  reading: [],
  ...more,
});

describe('isSuspect', () => {
  /** The shortest silence that is suspected, ms. */
  const suspectedAfter = (more: Partial<SilenceFacts>): number | undefined => {
    for (let ms = 0; ms < 200_000; ms += 100) if (isSuspect(facts(ms, more))) return ms;
    return undefined;
  };

  it('suspects a talkative device after 4 s', () => {
    expect(suspectedAfter({})).toBe(4000);
  });

  it('waits for twice what the device has been silent for before, or its prompts are predicted to take', () => {
    expect(suspectedAfter({ usual: milliseconds(2500) })).toBe(5000);
    expect(suspectedAfter({ reading: [milliseconds(1000), milliseconds(2000)] })).toBe(6000);
  });

  it('waits for one and a half batches of telemetry at most, as for a device of which nothing is known', () => {
    expect(suspectedAfter({ reading: [milliseconds(60_000)] })).toBe(7500);
    expect(suspectedAfter({ usual: undefined })).toBe(7500);
    const rare = { heartbeat: milliseconds(60_000), sinceTelemetry: milliseconds(100_000) };
    expect(suspectedAfter({ ...rare, usual: undefined })).toBe(90_000);
  });

  it('never suspects a device whose telemetry is not overdue, whatever its jobs do', () => {
    const ms = fc.double({ min: 0, max: 1e6, noNaN: true }).map(milliseconds);
    fc.assert(
      fc.property(
        ms,
        ms,
        fc.array(ms),
        fc.double({ min: 0, max: 1.19, noNaN: true }),
        (silent, usual, reading, late) => {
          const sinceTelemetry = milliseconds(late * HEARTBEAT);
          expect(isSuspect(facts(silent, { sinceTelemetry, usual, reading }))).toBe(false);
        },
      ),
    );
  });
});

describe('usualSilence', () => {
  it('begins with the pace of telemetry, wears off with what is heard, and jumps to a longer silence', () => {
    let usual = usualSilence(undefined, milliseconds(0), milliseconds(5000));
    expect(usual).toBe(4900);
    for (let heard = 0; heard < 100; heard++) usual = usualSilence(usual, milliseconds(0), milliseconds(5000));
    expect(usual).toBeLessThan(700);
    expect(usualSilence(usual, milliseconds(3000), milliseconds(5000))).toBe(3000);
  });
});

describe('othersHeard', () => {
  const at = (...heard: readonly (readonly [string, number])[]) =>
    othersHeard(new Map(heard.map(([name, ms]) => [deviceId(name), unixMs(ms)])), unixMs(100));

  it('counts everybody but the device itself', () => {
    expect(at()(deviceId('a'))).toBe(false);
    expect(at(['a', 150], ['b', 99])(deviceId('a'))).toBe(false);
    expect(at(['a', 150], ['b', 99])(deviceId('b'))).toBe(true);
    expect(at(['a', 150], ['b', 100], ['c', 0])(deviceId('a'))).toBe(true);
    expect(at(['b', 100], ['c', 120], ['a', 150])(deviceId('a'))).toBe(true);
  });
});
