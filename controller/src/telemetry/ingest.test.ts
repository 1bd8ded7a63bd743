import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { type DeviceId, deviceId } from '@fleetgate/shared/ids';
import { encode } from '@fleetgate/shared/protocol/codec';
import { METRICS, type Metric, type Telemetry } from '@fleetgate/shared/protocol/telemetry';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { TelemetryIngest } from './ingest.js';
import { mergeRollups, minuteOf } from './window.js';

const pi = deviceId('pi');
const NOW = unixMs(1_700_000_070_000);
const DAY = milliseconds(86_400_000);

function anIngest(options: { mostDevices?: number; mostRollups?: number } = {}) {
  const refused: string[] = [];
  const ingest = new TelemetryIngest({
    retention: DAY,
    onRefused: (device, reason) => refused.push(`${device} ${reason}`),
    ...options,
  });
  return { ingest, refused };
}

/** Ten samples, one a second, the last of them taken as it was sent; the device's clock is an hour slow. */
function aBatch(batch: Partial<Telemetry> = {}): Telemetry {
  const sentAtMs = NOW - 3_600_000;
  return {
    v: 1,
    epoch: 1,
    seq: 0,
    t0Ms: sentAtMs - 9_000,
    dtMs: 1_000,
    n: 10,
    sentAtMs,
    columns: { powerW: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
    ...batch,
  };
}

const oneValue = (value: number, batch: Partial<Telemetry> = {}, metric: Metric = 'powerW') =>
  encode(aBatch({ n: 1, t0Ms: NOW - 3_600_000, columns: { [metric]: [value] }, ...batch }));

describe('telemetry ingest', () => {
  test('places samples by our clock and rolls them up by the minute', () => {
    const { ingest } = anIngest();
    expect(ingest.accept(pi, encode(aBatch()), NOW)).toBe(10);
    const rollups = ingest.takeRollups();
    expect(rollups.reduce((total, { n }) => total + n, 0)).toBe(10);
    expect(rollups.reduce((total, { sum }) => total + sum, 0)).toBe(55);
    expect(rollups[0]?.start).toBe(minuteOf(NOW - 9_000));
    expect(ingest.takeRollups()).toEqual([]);
  });

  test('tells the newest value of each metric once', () => {
    const { ingest } = anIngest();
    ingest.accept(pi, encode(aBatch({ columns: { powerW: [...Array<null>(8).fill(null), 5, null] } })), NOW);
    ingest.accept(pi, oneValue(40, { seq: 1 }, 'temperatureC'), unixMs(NOW + 1_000));
    expect(ingest.takeObservations()).toEqual([
      {
        deviceId: pi,
        epoch: 1,
        last: { powerW: 5, temperatureC: 40 },
        sampledAtMs: NOW + 1_000,
        receivedAtMs: NOW + 1_000,
      },
    ]);
    expect(ingest.takeObservations()).toEqual([]);
  });

  test('a batch that waited out a lost connection is stored at its time and is not the newest', () => {
    const { ingest } = anIngest();
    ingest.accept(pi, oneValue(7), NOW);
    const taken = NOW - 3_600_000 - 600_000;
    ingest.accept(pi, oneValue(1, { seq: 1, t0Ms: taken }), NOW);
    expect(ingest.takeObservations().map(({ last }) => last)).toEqual([{ powerW: 7 }]);
    expect(ingest.takeRollups().map(({ start }) => start)).toEqual([minuteOf(NOW), minuteOf(NOW - 600_000)]);
  });

  test.each([
    ['repeated', { seq: 5 }, 'duplicate'],
    ['overtaken', { seq: 4 }, 'duplicate'],
    ['of an older session', { epoch: 1, seq: 9 }, 'old-epoch'],
    ['sampled after it was sent', { seq: 6, t0Ms: NOW }, 'from-the-future'],
    ['of the distant past', { seq: 6, t0Ms: NOW - 3_600_000 - 2 * DAY }, 'too-old'],
    ['longer than an hour', { seq: 6, n: 2, dtMs: 4e6, columns: { powerW: [1, 1] } }, 'too-long'],
    ['with times beyond all bounds', { seq: 6, t0Ms: -1e308, sentAtMs: 1e308 }, 'too-old'],
    ['with a step beyond all bounds', { seq: 6, n: 2, dtMs: 1e308, columns: { powerW: [1, 1] } }, 'too-long'],
  ])('a batch %s is refused', (_name, batch, reason) => {
    const { ingest, refused } = anIngest();
    ingest.accept(pi, oneValue(1, { epoch: 2, seq: 5 }), NOW);
    expect(ingest.accept(pi, oneValue(1, { epoch: 2, ...batch }), NOW)).toBe(0);
    expect(refused).toEqual([`pi ${reason}`]);
    expect(ingest.takeRollups()).toHaveLength(1);
  });

  test('a refused batch does not hide the right one with its number', () => {
    const { ingest } = anIngest();
    expect(ingest.accept(pi, oneValue(1, { t0Ms: NOW }), NOW)).toBe(0);
    expect(ingest.accept(pi, oneValue(1), NOW)).toBe(1);
  });

  test('a restarted device counts from the beginning', () => {
    const { ingest } = anIngest();
    ingest.accept(pi, oneValue(1, { epoch: 1, seq: 9 }), NOW);
    expect(ingest.accept(pi, oneValue(1, { epoch: 2, seq: 0 }), NOW)).toBe(1);
  });

  test('an unbelievable value is left out, the others count', () => {
    const { ingest, refused } = anIngest();
    const columns = { powerW: [5, 1e9, -1], temperatureC: [1e3, 40, null] };
    expect(ingest.accept(pi, encode(aBatch({ n: 3, columns })), NOW)).toBe(2);
    expect(ingest.takeObservations()[0]?.last).toEqual({ powerW: 5, temperatureC: 40 });
    expect(refused).toEqual(['pi absurd-value']);
  });

  test('follows a bounded number of devices and lets go of those long unheard', () => {
    const { ingest, refused } = anIngest({ mostDevices: 2 });
    for (const name of ['a', 'b', 'c']) ingest.accept(deviceId(name), oneValue(1), NOW);
    expect(refused).toEqual(['c too-many-devices']);
    const later = unixMs(NOW + 600_000);
    expect(ingest.accept(deviceId('b'), oneValue(1, { seq: 1 }), later)).toBe(1);
    expect(ingest.accept(deviceId('c'), oneValue(1), later)).toBe(1);
    // 'a' gave way: its number is forgotten, that of 'b' is not.
    expect(ingest.accept(deviceId('b'), oneValue(1, { seq: 1 }), later)).toBe(0);
  });

  test('holds a bounded number of rollups, and takes back what could not be stored', () => {
    const { ingest } = anIngest({ mostRollups: 2 });
    ingest.accept(deviceId('a'), oneValue(1), NOW);
    ingest.accept(deviceId('b'), oneValue(1), NOW);
    expect(ingest.accept(deviceId('c'), oneValue(1), NOW)).toBe(0);
    const rollups = ingest.takeRollups();
    ingest.accept(deviceId('a'), oneValue(3, { seq: 1 }), NOW);
    ingest.accept(deviceId('c'), oneValue(3, { seq: 1 }), NOW);
    expect(ingest.restoreRollups(rollups)).toBe(1);
    expect(ingest.takeRollups().find(({ deviceId }) => deviceId === 'a')).toMatchObject({
      n: 2,
      sum: 4,
      min: 1,
      max: 3,
    });
  });

  test('any bytes at all: nothing breaks, nothing is counted twice, all is within the window', () => {
    const batches = fc.record({
      v: fc.constant(1),
      epoch: fc.integer({ min: 0, max: 3 }),
      seq: fc.integer({ min: -1, max: 5 }),
      t0Ms: fc.oneof(fc.double(), fc.integer({ min: NOW - 7_300_000, max: NOW })),
      dtMs: fc.oneof(fc.double(), fc.integer({ min: 1, max: 100_000 })),
      n: fc.integer({ min: 0, max: 4 }),
      sentAtMs: fc.oneof(fc.double(), fc.constant(NOW)),
      columns: fc.dictionary(
        fc.constantFrom<string>(...METRICS, 'unheardOf'),
        fc.array(fc.oneof(fc.constant(null), fc.double(), fc.integer()), { maxLength: 4 }),
      ),
    });
    const payloads = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      batches.map((batch) => Buffer.from(JSON.stringify(batch))),
    );
    fc.assert(
      fc.property(fc.array(payloads, { maxLength: 12 }), (messages) => {
        const { ingest } = anIngest();
        let counted = 0;
        for (const payload of messages) {
          counted += ingest.accept(pi, payload, NOW);
          expect(ingest.accept(pi, payload, NOW)).toBe(0);
        }
        const rollups = ingest.takeRollups();
        expect(rollups.reduce((total, { n }) => total + n, 0)).toBe(counted);
        for (const { start, n, sum, min, max } of rollups) {
          expect(start).toBeGreaterThanOrEqual(minuteOf(NOW - DAY));
          expect(start).toBeLessThanOrEqual(NOW + 1_000);
          expect(min).toBeLessThanOrEqual(max);
          expect(sum).toBeGreaterThanOrEqual(n * min - 1e-6 * Math.abs(n * min));
          expect(sum).toBeLessThanOrEqual(n * max + 1e-6 * Math.abs(n * max));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('however the samples are cut into batches, the rollups are the same', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 100 })), { minLength: 1, maxLength: 300 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 300, maxLength: 300 }),
        (samples, cuts) => {
          const rollupsOf = (lengths: readonly number[]) => {
            const { ingest } = anIngest();
            let at = 0;
            for (const [seq, length] of lengths.entries()) {
              const column = samples.slice(at, at + length);
              if (column.length === 0) break;
              const t0Ms = NOW - 1_000 * (samples.length - at);
              ingest.accept(
                pi,
                encode(aBatch({ seq, n: column.length, t0Ms, sentAtMs: NOW, columns: { powerW: column } })),
                NOW,
              );
              at += length;
            }
            return new Map(ingest.takeRollups().map((rollup) => [rollup.start, rollup]));
          };
          expect(rollupsOf(cuts)).toEqual(rollupsOf([300]));
        },
      ),
    );
  });
});

test('merging rollups is the same in any order', () => {
  const rollup = fc.record({
    deviceId: fc.constant<DeviceId>(pi),
    metric: fc.constant<Metric>('powerW'),
    start: fc.constant(minuteOf(NOW)),
    n: fc.integer({ min: 1, max: 100 }),
    sum: fc.integer({ min: -100, max: 100 }),
    min: fc.integer({ min: -100, max: 0 }),
    max: fc.integer({ min: 0, max: 100 }),
  });
  fc.assert(
    fc.property(rollup, rollup, rollup, (a, b, c) => {
      expect(mergeRollups(a, mergeRollups(b, c))).toEqual(mergeRollups(mergeRollups(c, a), b));
    }),
  );
});
