import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { type EnrolmentStore, type JoinToken, MemoryEnrolmentStore, type Waiting } from './enrolment-store.js';
import { enrolmentSchema, SqliteEnrolmentStore } from './sqlite-enrolment-store.js';

const token: JoinToken = {
  id: 'a',
  secretSha256: 'digest',
  createdAt: unixMs(1),
  expiresAt: unixMs(2),
  usesLeft: 3,
};
const waiting: Waiting = {
  name: 'pi',
  board: 'pi-5',
  nonceSha256: 'nonce',
  keySha256: undefined,
  address: '::1',
  askedAt: unixMs(5),
  verdict: 'none',
};

describe.each(['memory', 'sqlite'])('EnrolmentStore: %s', (kind) => {
  let folder: string;
  let database: Database;
  let store: EnrolmentStore;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-enrolment-'));
    database = await openDatabase(join(folder, 'control.sqlite'), [enrolmentSchema]);
    store = kind === 'sqlite' ? new SqliteEnrolmentStore(database) : new MemoryEnrolmentStore();
  });
  afterEach(async () => {
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('keeps join tokens by their id', async () => {
    await store.putToken(token);
    await store.putToken({ ...token, id: 'b', createdAt: unixMs(2) });
    await store.putToken({ ...token, usesLeft: 2 });
    expect(await store.tokens()).toEqual([
      { ...token, usesLeft: 2 },
      { ...token, id: 'b', createdAt: unixMs(2) },
    ]);
    await store.removeToken('a');
    await store.removeToken('a');
    expect((await store.tokens()).map(({ id }) => id)).toEqual(['b']);
  });

  it('keeps who waits by name', async () => {
    await store.putWaiting(waiting);
    await store.putWaiting({ ...waiting, name: 'jetson', keySha256: 'key', askedAt: unixMs(6), verdict: 'denied' });
    await store.putWaiting({ ...waiting, verdict: 'approved' });
    expect(await store.waiting()).toEqual([
      { ...waiting, verdict: 'approved' },
      { ...waiting, name: 'jetson', keySha256: 'key', askedAt: unixMs(6), verdict: 'denied' },
    ]);
    await store.removeWaiting('pi');
    expect((await store.waiting()).map(({ name }) => name)).toEqual(['jetson']);
  });
});
