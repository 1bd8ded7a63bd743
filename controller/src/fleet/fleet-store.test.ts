import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { deviceId } from '@fleetgate/shared/ids';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { aDevice, aReported } from './device.fixture.js';
import { type FleetStore, MemoryFleetStore } from './fleet-store.js';
import { fleetSchema, SqliteFleetStore } from './sqlite-fleet-store.js';

describe.each(['memory', 'sqlite'] as const)('FleetStore in %s', (kind) => {
  let folder: string;
  let database: Database | undefined;
  let store: FleetStore;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-fleet-'));
    if (kind === 'sqlite') database = await openDatabase(join(folder, 'control.sqlite'), [fleetSchema]);
    store = database === undefined ? new MemoryFleetStore() : new SqliteFleetStore(database);
  });
  afterEach(async () => {
    await database?.close();
    database = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  it('gives back what was added and saved, without telemetry', async () => {
    await store.add(aDevice({ presence: 'never-seen', lastSeen: undefined, leaseExpires: undefined }), {
      secretSha256: 'ab',
    });
    const device = aDevice({ epoch: 7, reported: aReported({ epoch: 7 }), last: { powerW: 3 } });
    await store.save([device]);
    expect(await store.load()).toEqual([{ device: { ...device, last: {} }, credentials: { secretSha256: 'ab' } }]);
  });

  it('refuses a name that is taken', async () => {
    await store.add(aDevice(), { secretSha256: 'ab' });
    await expect(store.add(aDevice(), { secretSha256: 'cd' })).rejects.toMatchObject({ code: 'enrol.name-taken' });
    expect((await store.load()).map(({ credentials }) => credentials.secretSha256)).toEqual(['ab']);
  });

  it('replaces the credentials of a device that is there', async () => {
    await store.add(aDevice(), { secretSha256: 'ab', nonceSha256: 'cd' });
    await store.setCredentials(deviceId('pi'), { secretSha256: 'ef', nonceSha256: 'cd' });
    await store.setCredentials(deviceId('nobody'), { secretSha256: 'ef' });
    expect((await store.load()).map(({ credentials }) => credentials)).toEqual([
      { secretSha256: 'ef', nonceSha256: 'cd' },
    ]);
  });

  it('does not bring back a removed device by a late save', async () => {
    await store.add(aDevice(), { secretSha256: 'ab' });
    await store.remove(deviceId('pi'));
    await store.save([aDevice({ epoch: 2 })]);
    expect(await store.load()).toEqual([]);
  });
});

it('keeps the devices of a database that was made before the latest change', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-fleet-'));
  try {
    const path = join(folder, 'control.sqlite');
    const first = await openDatabase(path, [{ entities: [], migrations: fleetSchema.migrations.slice(0, 1) }]);
    await first.source.query(
      `INSERT INTO device (id, board, secretSha256, enrolledAtMs, presence, epoch) VALUES ('pi', 'pi-5', 'ab', 1, 'offline', 3)`,
    );
    await first.close();
    const database = await openDatabase(path, [fleetSchema]);
    const [stored] = await new SqliteFleetStore(database).load();
    expect(stored).toMatchObject({ device: { id: 'pi', epoch: 3 }, credentials: { secretSha256: 'ab' } });
    await database.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
