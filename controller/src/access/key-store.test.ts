import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SeededRandom } from '@fleetgate/shared/random';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { newKey } from './access-key.js';
import { MemoryKeyStore } from './key-store.fixture.js';
import { accessSchema, SqliteAccessStore } from './sqlite-access-store.js';

const now = unixMs(1_764_000_000_000);

describe.each(['memory', 'sqlite'] as const)('keys and limits in %s', (kind) => {
  let folder: string;
  let database: Database | undefined;
  let store: MemoryKeyStore | SqliteAccessStore;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-keys-'));
    if (kind === 'sqlite') database = await openDatabase(join(folder, 'control.sqlite'), [accessSchema]);
    store = database === undefined ? new MemoryKeyStore() : new SqliteAccessStore(database);
  });
  afterEach(async () => {
    await database?.close();
    database = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  it('gives back what was added, with and without what may be absent', async () => {
    const random = new SeededRandom(1);
    const whole = newKey(
      { label: '"🦊\'; --', tenant: 'a/b %00 \\ ü', scopes: ['admin', 'infer'], expiresAtMs: now + 5 },
      now,
      random,
    ).key;
    const bare = newKey({ label: 'bare', scopes: ['read'] }, now, random).key;
    await store.addKey(whole);
    await store.addKey(bare);
    expect(await store.loadKeys()).toEqual({ keys: [whole, bare], uses: new Map() });
  });

  it('keeps revocations and uses of keys that are there', async () => {
    const random = new SeededRandom(2);
    const [one, two] = [0, 1].map(() => newKey({ label: 'x', scopes: ['read'] }, now, random).key);
    if (one === undefined || two === undefined) throw new Error('no keys');
    await store.addKey(one);
    await store.addKey(two);
    await store.revokeKey(one.id, unixMs(now + 1));
    await store.revokeKey('nobody', now);
    await store.saveUses(
      new Map([
        [two.id, unixMs(now + 2)],
        ['nobody', now],
      ]),
    );
    expect(await store.loadKeys()).toEqual({
      keys: [{ ...one, revokedAt: now + 1 }, two],
      uses: new Map([[two.id, now + 2]]),
    });
    await store.removeKey(two.id);
    expect((await store.loadKeys()).keys.map(({ id }) => id)).toEqual([one.id]);
    expect((await store.loadKeys()).uses).toEqual(new Map());
  });

  it('replaces and removes limits', async () => {
    const name = '__proto__';
    await store.putTenant(name, { requestsPerMinute: 1, outputTokensPerMinute: null });
    await store.putTenant(name, { requestsPerMinute: null, outputTokensPerMinute: 2 });
    expect([...(await store.loadTenants())]).toEqual([[name, { requestsPerMinute: null, outputTokensPerMinute: 2 }]]);
    await store.putTenant(name, null);
    expect((await store.loadTenants()).size).toBe(0);
  });
});
