import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { silentLogger } from '@fleetgate/shared/logger';
import { type DeviceEvent, type Telemetry, telemetrySchema } from '@fleetgate/shared/protocol/telemetry';

import { EnergyMeter } from '../sensors/energy-meter.js';
import { FixedSensors } from '../sensors/sensors.js';
import { type Batch, toBatch } from './batch.js';
import { DeviceEvents } from './device-events.js';
import { DiskOfflineBuffer } from './disk-offline-buffer.js';
import { Reporter } from './reporter.js';
import { TelemetrySender } from './telemetry-sender.js';

const aBatch = (t0Ms: number, padding = 0): Batch => ({
  t0Ms,
  dtMs: 1000,
  n: 1 + padding,
  powerSource: 'modelled',
  columns: { powerW: Array.from({ length: 1 + padding }, () => 3.5) },
});

async function settle(): Promise<void> {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-telemetry-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('toBatch', () => {
  it('makes columns, with null where a sample has no value', () => {
    expect(
      toBatch([{ powerW: 3.14159265 }, { powerW: 4, temperatureC: 50 }], {
        t0Ms: 0,
        dtMs: 1000,
        powerSource: 'modelled',
      }),
    ).toEqual({
      t0Ms: 0,
      dtMs: 1000,
      n: 2,
      powerSource: 'modelled',
      columns: { powerW: [3.14159, 4], temperatureC: [null, 50] },
    });
  });
});

describe('Reporter', () => {
  it('samples at its pace and cuts batches, modelled where no sensor tells', async () => {
    const clock = new ManualClock();
    const meter = new EnergyMeter({ idleW: 3, loadW: 11, standbyW: 2 }, clock);
    const batches: Batch[] = [];
    const reporter = new Reporter({
      sensors: new FixedSensors({ temperatureC: 40, throttled: true }),
      meter,
      activity: () => ({ queuedJobs: 1, runningJobs: 1, outputTokens: 0, engineMemoryBytes: 7, standby: false }),
      onBatch: (batch) => batches.push(batch),
      clock,
    });
    reporter.setPace(500, 1000);
    for (let i = 0; i < 4; i++) {
      clock.advance(500);
      await settle();
    }
    reporter.stop();
    expect(batches).toHaveLength(2);
    expect(batches[0]).toMatchObject({
      n: 2,
      dtMs: 500,
      powerSource: 'modelled',
      columns: { powerW: [3, 3], temperatureC: [40, 40], throttled: [1, 1], engineMemoryBytes: [7, 7] },
    });
    expect(telemetrySchema.safeParse({ v: 1, epoch: 1, seq: 0, sentAtMs: 0, ...batches[0] }).success).toBe(true);
  });
});

describe('DiskOfflineBuffer', () => {
  const drain = (buffer: DiskOfflineBuffer): number[] => {
    const seen: number[] = [];
    for (let batch = buffer.peek(); batch !== undefined; batch = buffer.peek()) {
      seen.push(batch.t0Ms);
      buffer.shift();
    }
    return seen;
  };
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

  it('gives back what it took, in order, over memory, files and a restart', async () => {
    const first = new DiskOfflineBuffer(folder, silentLogger);
    for (const t of range(0, 300)) first.push(aBatch(t, 100));
    expect((await readdir(folder)).length).toBeGreaterThan(0);
    first.close();
    const second = new DiskOfflineBuffer(folder, silentLogger);
    for (const t of range(300, 310)) second.push(aBatch(t));
    expect(drain(second)).toEqual(range(0, 310));
    expect(second.isEmpty).toBe(true);
    expect(await readdir(folder)).toEqual([]);
  });

  it('drops the oldest beyond its bound, and counts them', () => {
    const buffer = new DiskOfflineBuffer(folder, silentLogger, 200_000);
    for (const t of range(0, 2000)) buffer.push(aBatch(t, 100));
    const left = drain(buffer);
    expect(left.at(-1)).toBe(1999);
    expect(left).toEqual(range(2000 - left.length, 2000));
    expect(buffer.dropped).toBe(2000 - left.length);
  });

  it('loses batches, never the agent, when its folder is gone', async () => {
    const buffer = new DiskOfflineBuffer(folder, silentLogger);
    await rm(folder, { recursive: true });
    for (const t of range(0, 300)) buffer.push(aBatch(t, 100));
    expect(buffer.dropped).toBeGreaterThan(0);
    expect(drain(buffer).at(-1)).toBe(299);
  });
});

describe('TelemetrySender', () => {
  function aSender() {
    const clock = new ManualClock();
    const sent: Telemetry[] = [];
    let broken = false;
    const sender = new TelemetrySender(
      new DiskOfflineBuffer(folder, silentLogger),
      async (telemetry) => {
        sent.push(telemetry);
        if (broken) throw new FleetError('broker.unreachable', 'gone', { retryable: true });
      },
      clock,
    );
    return { clock, sender, sent, setBroken: (value: boolean) => (broken = value) };
  }
  const stamps = (sent: readonly Telemetry[]) => sent.map(({ epoch, seq, t0Ms }) => [epoch, seq, t0Ms]);

  it('keeps batches while there is no line and then sends them slowly, oldest first', async () => {
    const { clock, sender, sent } = aSender();
    for (const t of [1, 2, 3]) sender.push(aBatch(t));
    await settle();
    expect(sent).toEqual([]);
    sender.onLink(100);
    await settle();
    expect(stamps(sent)).toEqual([[100, 0, 1]]);
    for (let i = 0; i < 3; i++) {
      clock.advance(50);
      await settle();
    }
    expect(stamps(sent)).toEqual([
      [100, 0, 1],
      [100, 1, 2],
      [100, 2, 3],
    ]);
  });

  it('sends an unacknowledged batch again under its old number, so that it can be told from a new one', async () => {
    const { clock, sender, sent, setBroken } = aSender();
    sender.onLink(100);
    setBroken(true);
    sender.push(aBatch(1));
    await settle();
    sender.onLink(undefined);
    setBroken(false);
    sender.push(aBatch(2));
    sender.onLink(200);
    await settle();
    clock.advance(50);
    await settle();
    expect(stamps(sent)).toEqual([
      [100, 0, 1],
      [100, 0, 1],
      [200, 0, 2],
    ]);
  });
});

describe('DeviceEvents', () => {
  it('tells one event of a code in ten seconds and counts the others', async () => {
    const clock = new ManualClock();
    const sent: DeviceEvent[] = [];
    const events = new DeviceEvents(clock, async (event) => void sent.push(event));
    events.onLink(7);
    for (let i = 0; i < 5; i++) events.tell('warn', 'protocol.malformed', `message ${i}`);
    events.tell('info', 'engine.restarted', 'ready');
    clock.advance(10_000);
    events.tell('warn', 'protocol.malformed', 'later');
    await settle();
    expect(sent.map(({ epoch, code, message }) => [epoch, code, message])).toEqual([
      [7, 'protocol.malformed', 'message 0'],
      [7, 'engine.restarted', 'ready'],
      [7, 'protocol.malformed', 'later (and 4 more like it)'],
    ]);
  });

  it('keeps events of an outage, the newest fifty', async () => {
    const sent: DeviceEvent[] = [];
    const events = new DeviceEvents(new ManualClock(), async (event) => void sent.push(event));
    for (let i = 0; i < 60; i++) events.tell('warn', `code.${i}`, 'x');
    events.onLink(1);
    for (let i = 0; i < 10; i++) await settle();
    expect(sent.map((event) => event.code)).toEqual(Array.from({ length: 50 }, (_, i) => `code.${i + 10}`));
  });
});
