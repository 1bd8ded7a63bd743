import { type Observable, Subject } from 'rxjs';
import { describe, expect, test, vi } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { deviceId } from '@fleetgate/shared/ids';
import { encode } from '@fleetgate/shared/protocol/codec';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { MemoryTelemetryStore } from './memory-telemetry-store.js';
import type { TelemetryEvent, TelemetryObservation } from './telemetry-event.js';
import { TelemetryIngestion } from './telemetry-ingestion.js';
import type { TelemetryMessage } from './telemetry-source.js';
import type { Rollup } from './telemetry-store.js';

const pi = deviceId('pi');

/** A store on a disk that can be full. */
class FillingStore extends MemoryTelemetryStore {
  full = false;

  override add(rollups: readonly Rollup[]): Promise<void> {
    return this.full ? Promise.reject(new FleetError('store.unavailable', 'disk is full')) : super.add(rollups);
  }
}

function running(options: { openFails?: number; live?: Observable<TelemetryMessage> } = {}) {
  const clock = new ManualClock();
  const messages = new Subject<TelemetryMessage>();
  const store = new FillingStore();
  const events: TelemetryEvent[] = [];
  const observed: (readonly TelemetryObservation[])[] = [];
  let failures = options.openFails ?? 0;
  const ingestion = new TelemetryIngestion({
    source: { messages$: messages, close: () => Promise.resolve() },
    ...(options.live === undefined ? {} : { live: { messages$: options.live, close: () => Promise.resolve() } }),
    openStore: () =>
      failures-- > 0 ? Promise.reject(new FleetError('data-dir.not-writable', 'read-only')) : Promise.resolve(store),
    retention: milliseconds(86_400_000),
    clock,
    onEvent: (event) => events.push(event),
  });
  ingestion.observations$.subscribe((observations) => observed.push(observations));
  let seq = 0;
  const send = (powerW: number, device = pi) => {
    const now = clock.now();
    const batch = {
      v: 1,
      epoch: 1,
      seq: seq++,
      t0Ms: now,
      dtMs: 1,
      n: 1,
      sentAtMs: now,
      columns: { powerW: [powerW] },
    };
    messages.next({ deviceId: device, payload: encode(batch) });
  };
  const stored = async () => {
    const query = { deviceId: pi, metric: 'powerW', from: unixMs(0), to: unixMs(4e12), limit: 100 } as const;
    const rollups = await store.read({ ...query, step: milliseconds(3_600_000) });
    return rollups.reduce((total, { sum }) => total + sum, 0);
  };
  return { clock, send, store, events, observed, ingestion, stored };
}

describe('telemetry ingestion', () => {
  test('tells newest values at most every 250 ms, once for each device', () => {
    const { clock, send, observed } = running();
    for (const power of [1, 2, 3]) send(power);
    send(9, deviceId('jetson'));
    expect(observed).toEqual([]);
    clock.advance(250);
    expect(observed.map((batch) => batch.map(({ last }) => last))).toEqual([[{ powerW: 3 }, { powerW: 9 }]]);
    clock.advance(10_000);
    expect(observed).toHaveLength(1);
  });

  test('of several controllers, each has all newest values and stores its share', async () => {
    const live = new Subject<TelemetryMessage>();
    const { clock, send, observed, ingestion, stored } = running({ live });
    send(1);
    const columns = { powerW: [5] };
    const now = clock.now();
    const batch = { v: 1, epoch: 1, seq: 7, t0Ms: now, dtMs: 1, n: 1, sentAtMs: now, columns };
    live.next({ deviceId: pi, payload: encode(batch) });
    clock.advance(250);
    expect(observed.flat().map(({ last }) => last)).toEqual([{ powerW: 5 }]);
    await ingestion.stop();
    expect(await stored()).toBe(1);
  });

  test('stores every 10 s, and the rest at the stop', async () => {
    const { clock, send, ingestion, stored } = running();
    send(1);
    clock.advance(10_000);
    await vi.waitFor(async () => expect(await stored()).toBe(1));
    send(2);
    await ingestion.stop();
    expect(await stored()).toBe(3);
    send(4);
    clock.advance(60_000);
    expect(await stored()).toBe(3);
  });

  test('goes on while the disk is full, tells it, and stores all when there is room again', async () => {
    const { send, store, ingestion, events, observed, clock, stored } = running();
    store.full = true;
    for (const power of [1, 2]) {
      send(power);
      await ingestion.storeNow();
    }
    expect(events.map((event) => event.kind === 'telemetry-store' && event.state)).toEqual(['failing', 'failing']);
    clock.advance(250);
    expect(observed).toHaveLength(1);
    store.full = false;
    await ingestion.storeNow();
    expect(events.at(-1)).toMatchObject({ kind: 'telemetry-store', state: 'recovered' });
    expect(await stored()).toBe(3);
  });

  test('a store that cannot be opened is tried again', async () => {
    const { send, ingestion, events, stored } = running({ openFails: 2 });
    send(5);
    await ingestion.storeNow();
    expect(events).toEqual([1, 2].map(() => expect.objectContaining({ state: 'failing', message: 'read-only' })));
    await ingestion.storeNow();
    expect(await stored()).toBe(5);
  });

  test('expires what is older than the retention, at the start and every hour', async () => {
    const { clock, ingestion, store, send, stored } = running();
    const expire = vi.spyOn(store, 'expire');
    send(1);
    await ingestion.storeNow();
    expect(await stored()).toBe(1);
    clock.advance(2 * 86_400_000);
    await vi.waitFor(async () => expect(await stored()).toBe(0));
    expect(expire).toHaveBeenCalled();
    await ingestion.stop();
  });
});
