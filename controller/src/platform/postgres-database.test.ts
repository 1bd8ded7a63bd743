import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { hasPostgres, makePostgres, NO_POSTGRES, type Postgres } from '../../../test/support/postgres.ts';
import { SCHEMAS } from '../open-database.js';
import { PostgresChanges } from './postgres-changes.js';
import { openPostgres } from './postgres-database.js';
import { sharedSecret } from './sqlite-shared-secret.js';

describe.skipIf(!hasPostgres)(`PostgreSQL${hasPostgres ? '' : ` (${NO_POSTGRES})`}`, () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await makePostgres();
    await server.start();
  }, 60_000);
  afterAll(() => server.remove());

  it('is brought up to date by controllers that start at once, which share what they keep', async () => {
    const databases = await Promise.all([openPostgres(server.url, SCHEMAS), openPostgres(server.url, SCHEMAS)]);
    const secrets = await Promise.all(
      databases.map((database, at) => sharedSecret(database, 'word', () => `of ${at}`)),
    );
    expect(new Set(secrets).size).toBe(1);
    for (const database of databases) await database.close();
  });

  it('writes in the order in which it was asked, all of a write or nothing', async () => {
    const database = await openPostgres(server.url, SCHEMAS);
    const put = (count: number) =>
      database.write(async (manager) => {
        if (count === 1) await new Promise((resolve) => setTimeout(resolve, 20));
        await manager.query(
          'INSERT INTO budget (id, document) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document',
          [count],
        );
        if (count === 3) throw new Error('in the midst of it');
      });
    const [, , third] = await Promise.allSettled([put(1), put(2), put(3)]);
    expect(third).toMatchObject({ status: 'rejected' });
    expect(await database.source.query('SELECT document FROM budget')).toEqual([{ document: '2' }]);
    await database.close();
    await expect(put(4)).rejects.toMatchObject({ code: 'store.unavailable' });
  });

  it('tells of what another has changed', async () => {
    const [one, two] = await Promise.all([openPostgres(server.url, SCHEMAS), openPostgres(server.url, SCHEMAS)]);
    const changes = new PostgresChanges({ database: one, clock: new ManualClock(), log: silentLogger });
    expect(await firstValueFrom(changes.changes$)).toBe('*');
    const told = firstValueFrom(changes.changes$);
    await two.write((manager) => manager.query("INSERT INTO tenant_limit (name) VALUES ('acme')"));
    expect(await told).toBe('tenant_limit');
    await changes.close();
    for (const database of [one, two]) await database.close();
  });

  it('is left alone where a later release has changed it', async () => {
    const database = await openPostgres(server.url, SCHEMAS);
    await database.write((manager) => manager.query("INSERT INTO migrations (timestamp, name) VALUES (1, 'Later9')"));
    await expect(openPostgres(server.url, SCHEMAS)).rejects.toMatchObject({
      code: 'store.unavailable',
      message: expect.stringContaining('Later9') as string,
    });
    await database.close();
  });

  it('says when there is no server, or no such database', async () => {
    const nobody = openPostgres('postgres://nobody@127.0.0.1:1/none', SCHEMAS);
    await expect(nobody).rejects.toMatchObject({ code: 'store.unavailable', retryable: true });
    const unknown = openPostgres(server.url.replace(/postgres$/, 'unknown'), SCHEMAS);
    await expect(unknown).rejects.toMatchObject({ code: 'store.unavailable', retryable: false });
  });
});
