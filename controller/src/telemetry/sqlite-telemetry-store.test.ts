import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { deviceId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { driversHere } from '../platform/sqlite-driver.fixture.js';
import { MemoryTelemetryStore } from './memory-telemetry-store.js';
import { openSqliteTelemetryStore } from './sqlite-telemetry-store.js';
import { aRollup, minute, telemetryStoreContract } from './telemetry-store-contract.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-telemetry-'));
});
afterEach(async () => {
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true, force: true });
});
const path = () => join(folder, 'telemetry.sqlite');

telemetryStoreContract('memory', () => Promise.resolve(new MemoryTelemetryStore()));
for (const driver of driversHere) {
  telemetryStoreContract(driver, () => openSqliteTelemetryStore(path(), 'write', { driver }));
}

const all = {
  deviceId: deviceId('pi'),
  metric: 'powerW',
  from: unixMs(0),
  to: unixMs(2e12),
  step: milliseconds(60_000),
  limit: 20_000,
} as const;

describe('telemetry database', () => {
  test('survives a restart, and a reader follows the writer', async () => {
    const reader = await openSqliteTelemetryStore(path(), 'read');
    expect(await reader.read(all)).toEqual([]);
    const first = await openSqliteTelemetryStore(path(), 'write');
    await first.add([aRollup()]);
    expect(await reader.read(all)).toEqual([aRollup()]);
    await first.close();
    const second = await openSqliteTelemetryStore(path(), 'write');
    await second.add([aRollup({ start: minute(1) })]);
    expect(await reader.read(all)).toHaveLength(2);
    await expect(reader.add([aRollup()])).rejects.toMatchObject({ code: 'internal.invariant' });
    await second.close();
    await reader.close();
  });

  test('a file that is no database is moved aside and a fresh one begun', async () => {
    await writeFile(path(), 'not a database, and longer than the header of one would be '.repeat(50));
    const replaced: string[] = [];
    const store = await openSqliteTelemetryStore(path(), 'write', { onReplaced: (aside) => replaced.push(aside) });
    await store.add([aRollup()]);
    expect(await store.read(all)).toEqual([aRollup()]);
    expect(replaced).toEqual([`${path()}.corrupt`]);
    expect(await readdir(folder)).toContain('telemetry.sqlite.corrupt');
    await store.close();
  });

  test('a database damaged in its pages is replaced at the next start', async () => {
    const first = await openSqliteTelemetryStore(path(), 'write');
    await first.add(Array.from({ length: 5_000 }, (_, number) => aRollup({ start: minute(number) })));
    await first.close();
    const file = await open(path(), 'r+');
    await file.write(Buffer.alloc(20_000, 0xff), 0, 20_000, 8_192);
    await file.close();
    const replaced: string[] = [];
    const second = await openSqliteTelemetryStore(path(), 'write', { onReplaced: (aside) => replaced.push(aside) });
    expect(replaced).toHaveLength(1);
    expect(await second.read(all)).toEqual([]);
    await second.close();
  });

  test('a database damaged while open is replaced and the reader finds the new one', async () => {
    // More than a connection keeps in memory, so that the damage is seen.
    const rows = 120_000;
    const store = await openSqliteTelemetryStore(path(), 'write');
    await store.add(Array.from({ length: rows }, (_, number) => aRollup({ start: minute(number) })));
    await store.close();
    const replaced: string[] = [];
    const damaged = await openSqliteTelemetryStore(path(), 'write', { onReplaced: (aside) => replaced.push(aside) });
    const reader = await openSqliteTelemetryStore(path(), 'read');
    expect(await reader.read({ ...all, limit: 1 })).toHaveLength(1);
    const file = await open(path(), 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.alloc(size - 4_096, 0xff), 0, size - 4_096, 4_096);
    await file.close();
    expect(await damaged.expire(minute(0))).toBe(0);
    await damaged.add([aRollup({ deviceId: deviceId('new') })]);
    expect(replaced).toHaveLength(1);
    expect(await reader.read({ ...all, deviceId: deviceId('new') })).toHaveLength(1);
    await reader.close();
    await damaged.close();
  });

  test('a place that cannot be written is named', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(openSqliteTelemetryStore(join(folder, 'file', 'telemetry.sqlite'), 'write')).rejects.toMatchObject({
      code: 'data-dir.not-writable',
      message: expect.stringContaining('telemetry.sqlite') as string,
    });
  });

  test('a full disk is told, loses nothing that was stored, and passes', async ({ skip }) => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' });
    } catch {
      skip('a small file system cannot be mounted here: needs root');
    }
    try {
      const store = await openSqliteTelemetryStore(path(), 'write');
      await store.add([aRollup()]);
      await writeFile(join(folder, 'filler'), Buffer.alloc(700_000));
      const many = Array.from({ length: 20_000 }, (_, number) => aRollup({ start: minute(number + 1) }));
      await expect(store.add(many)).rejects.toMatchObject({ code: 'store.unavailable', retryable: true });
      expect(await store.read(all)).toEqual([aRollup()]);
      await rm(join(folder, 'filler'));
      await store.add(many.slice(0, 100));
      expect(await store.read(all)).toHaveLength(101);
      await store.close();
    } finally {
      // Lazily: libsql lets go of a file only when its statements are collected.
      execFileSync('umount', ['--lazy', folder]);
    }
  });
});
