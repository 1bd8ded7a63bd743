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
    await store.add(aDevice({ presence: 'never-seen', lastSeen: undefined, leaseExpires: undefined }), 'ab');
    const device = aDevice({ epoch: 7, reported: aReported({ epoch: 7 }), last: { powerW: 3 } });
    await store.save([device]);
    expect(await store.load()).toEqual([{ device: { ...device, last: {} }, secretSha256: 'ab' }]);
  });

  it('refuses a name that is taken', async () => {
    await store.add(aDevice(), 'ab');
    await expect(store.add(aDevice(), 'cd')).rejects.toMatchObject({ code: 'enrol.name-taken' });
    expect((await store.load()).map((stored) => stored.secretSha256)).toEqual(['ab']);
  });

  it('does not bring back a removed device by a late save', async () => {
    await store.add(aDevice(), 'ab');
    await store.remove(deviceId('pi'));
    await store.save([aDevice({ epoch: 2 })]);
    expect(await store.load()).toEqual([]);
  });
});
