import { systemClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { filter, firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

import { hasPostgres, makePostgres, NO_POSTGRES, type Postgres } from '../../../test/support/postgres.ts';
import { openPostgres, type PostgresDatabase } from './postgres-database.js';
import { leaderSchema, PostgresLeadership } from './postgres-leadership.js';

describe.skipIf(!hasPostgres)(`leadership by PostgreSQL${hasPostgres ? '' : ` (${NO_POSTGRES})`}`, () => {
  let server: Postgres;
  const controllers: { readonly leadership: PostgresLeadership; readonly database: PostgresDatabase }[] = [];
  beforeAll(async () => {
    server = await makePostgres();
    await server.start();
  }, 60_000);
  afterEach(async () => {
    for (const { leadership, database } of controllers.splice(0)) {
      await leadership.close();
      await database.close();
    }
  });
  afterAll(() => server.remove());

  async function aController() {
    const database = await openPostgres(server.url, [leaderSchema]);
    const leadership = new PostgresLeadership({ database, clock: systemClock, log: silentLogger });
    leadership.start();
    const controller = { leadership, database };
    controllers.push(controller);
    return controller;
  }
  const leads = (leadership: PostgresLeadership) =>
    firstValueFrom(leadership.term$.pipe(filter((term) => term !== undefined)));
  const ended = (leadership: PostgresLeadership) =>
    firstValueFrom(leadership.term$.pipe(filter((term) => term === undefined)));

  it('has one that leads; when it goes, another does, in a later term', async () => {
    const one = await aController();
    const first = await leads(one.leadership);
    const two = await aController();
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(two.leadership.term$.value).toBeUndefined();
    await one.leadership.close();
    expect(await leads(two.leadership)).toBeGreaterThan(first);
  });

  it('writes under its term alone, and the next term begins after what is being written', async () => {
    const one = await aController();
    await leads(one.leadership);
    await one.database.write((manager) => manager.query('CREATE TABLE written (term BIGINT)'));
    const two = await aController();
    let commit: (() => void) | undefined;
    const slow = one.leadership.write(async (manager) => {
      await manager.query('INSERT INTO written VALUES (1)');
      await new Promise<void>((resolve) => (commit = resolve));
    });
    await vi.waitFor(() => expect(commit).toBeDefined());
    // Cut off in the midst of it, as if it stood still.
    const cut = 'SELECT pg_terminate_backend(backend) FROM leader WHERE backend <> pg_backend_pid()';
    await two.database.source.query(cut);
    await ended(one.leadership);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(two.leadership.term$.value).toBeUndefined();
    commit?.();
    await slow;
    const term = await leads(two.leadership);
    expect(await two.database.source.query('SELECT * FROM written')).toHaveLength(1);
    const late = one.leadership.write((manager) => manager.query('INSERT INTO written VALUES (2)'));
    await expect(late).rejects.toMatchObject({ code: 'leader.fenced' });
    await two.leadership.write((manager) => manager.query('INSERT INTO written VALUES ($1)', [term]));
    expect(await two.database.source.query('SELECT * FROM written')).toHaveLength(2);
  });

  it('is taken from one that says nothing any more', async () => {
    const frozen = await aController();
    await leads(frozen.leadership);
    // Its connection holds the lock, and nothing is said on it.
    const silent = await openPostgres(server.url, [leaderSchema]);
    await frozen.leadership.close();
    const runner = silent.source.createQueryRunner();
    await runner.query('SELECT pg_advisory_lock(7331002)');
    await runner.query('UPDATE leader SET term = term + 1, backend = pg_backend_pid()');
    // In the midst of a write under its term, too.
    const writing = silent.source.createQueryRunner();
    await writing.startTransaction();
    await writing.query('SELECT 1 FROM leader WHERE id = 1 FOR SHARE');
    const other = await aController();
    await leads(other.leadership);
    for (const each of [runner, writing]) await each.release();
    await silent.close();
  }, 20_000);

  it('ends with the server, and begins again with it', async () => {
    const one = await aController();
    const first = await leads(one.leadership);
    await server.stop();
    await ended(one.leadership);
    await expect(one.leadership.write(async () => {})).rejects.toMatchObject({ retryable: true });
    await server.start();
    expect(await leads(one.leadership)).toBeGreaterThan(first);
    await one.database.write((manager) => manager.query('SELECT 1'));
  }, 30_000);
});
