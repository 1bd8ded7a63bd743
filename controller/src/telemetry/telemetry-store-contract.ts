import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { deviceId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import type { Rollup, TelemetryStore } from './telemetry-store.js';

const MINUTE = 60_000;
const T0 = 1_700_000_040_000 - (1_700_000_040_000 % MINUTE);

export const aRollup = (rollup: Partial<Rollup> = {}): Rollup => ({
  deviceId: deviceId('pi'),
  metric: 'powerW',
  start: unixMs(T0),
  n: 2,
  sum: 10,
  min: 4,
  max: 6,
  ...rollup,
});

export const minute = (number: number) => unixMs(T0 + number * MINUTE);

const all = {
  deviceId: deviceId('pi'),
  metric: 'powerW',
  from: unixMs(0),
  to: unixMs(2e12),
  step: milliseconds(MINUTE),
  limit: 100,
} as const;

/** What every telemetry store must do, whatever it rests on. `open` gives an empty one. */
export function telemetryStoreContract(name: string, open: () => Promise<TelemetryStore>): void {
  describe(`telemetry store: ${name}`, () => {
    let store: TelemetryStore;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(() => store.close());

    test('reads back what was added', async () => {
      await store.add([aRollup(), aRollup({ start: minute(1), sum: 0.1 + 0.2, min: -1.5, max: 1e15 })]);
      expect(await store.read(all)).toEqual([
        aRollup(),
        aRollup({ start: minute(1), sum: 0.1 + 0.2, min: -1.5, max: 1e15 }),
      ]);
    });

    test('adds to what is there for the same device, metric and minute', async () => {
      await store.add([aRollup(), aRollup({ n: 1, sum: 3, min: 3, max: 3 })]);
      await store.add([aRollup({ n: 1, sum: 9, min: 9, max: 9 })]);
      expect(await store.read(all)).toEqual([aRollup({ n: 4, sum: 22, min: 3, max: 9 })]);
    });

    test('keeps devices and metrics apart', async () => {
      await store.add([aRollup(), aRollup({ deviceId: deviceId('jetson') }), aRollup({ metric: 'temperatureC' })]);
      expect(await store.read(all)).toEqual([aRollup()]);
      expect(await store.read({ ...all, deviceId: deviceId('unheard-of') })).toEqual([]);
    });

    test('merges to a coarser step, oldest first, at most as many as asked', async () => {
      await store.add([5, 4, 3, 2, 1, 0].map((number) => aRollup({ start: minute(number), max: number })));
      const step = milliseconds(2 * MINUTE);
      const merged = await store.read({ ...all, step });
      expect(merged.every(({ start }) => start % step === 0)).toBe(true);
      expect(merged.map(({ start }) => start)).toEqual(merged.map(({ start }) => start).toSorted((a, b) => a - b));
      expect(merged.reduce((total, { n }) => total + n, 0)).toBe(12);
      expect(Math.max(...merged.map(({ max }) => max))).toBe(5);
      expect(await store.read({ ...all, limit: 2 })).toHaveLength(2);
    });

    test('reads from an instant, up to but without another', async () => {
      await store.add([0, 1, 2, 3].map((number) => aRollup({ start: minute(number) })));
      const read = await store.read({ ...all, from: minute(1), to: minute(3) });
      expect(read.map(({ start }) => start)).toEqual([minute(1), minute(2)]);
    });

    test('expires what started earlier and says how many', async () => {
      await store.add([0, 1, 2, 3].map((number) => aRollup({ start: minute(number) })));
      expect(await store.expire(minute(2))).toBe(2);
      expect(await store.expire(minute(2))).toBe(0);
      expect((await store.read(all)).map(({ start }) => start)).toEqual([minute(2), minute(3)]);
    });

    test('takes many at once, and concurrent calls', async () => {
      const many = Array.from({ length: 12_000 }, (_, number) => aRollup({ start: minute(number) }));
      await Promise.all([store.add(many), store.add(many), store.add([]), store.expire(unixMs(0))]);
      const read = await store.read({ ...all, limit: 20_000 });
      expect(read).toHaveLength(12_000);
      expect(read.every(({ n }) => n === 4)).toBe(true);
    });
  });
}
