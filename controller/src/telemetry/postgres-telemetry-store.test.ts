import { unixMs } from '@fleetgate/shared/units/quantity';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { hasPostgres, makePostgres, NO_POSTGRES, type Postgres } from '../../../test/support/postgres.ts';
import { connectPostgres } from '../platform/postgres-database.js';
import { openPostgresTelemetryStore } from './postgres-telemetry-store.js';
import { aRollup, minute, telemetryStoreContract } from './telemetry-store-contract.js';

const DAY_MS = 86_400_000;

describe.skipIf(!hasPostgres)(`PostgreSQL${hasPostgres ? '' : ` (${NO_POSTGRES})`}`, () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await makePostgres();
    await server.start();
  }, 60_000);
  afterAll(() => server.remove());

  async function query<Row>(sql: string): Promise<readonly Row[]> {
    const source = await connectPostgres(server.url, 1);
    try {
      return await source.query(sql);
    } finally {
      await source.destroy();
    }
  }
  const open = async () => {
    await query('DROP TABLE IF EXISTS rollup');
    return openPostgresTelemetryStore(server.url);
  };
  const days = async () =>
    (await query<{ name: string }>("SELECT relid::text AS name FROM pg_partition_tree('rollup') WHERE isleaf")).length;

  telemetryStoreContract('PostgreSQL', open);

  test('has a partition for each day, and drops those that are too old', async () => {
    const store = await open();
    const at = (day: number) => aRollup({ start: unixMs(minute(0) + day * DAY_MS) });
    await store.add([at(0), at(1), at(2)]);
    expect(await days()).toBe(3);
    expect(await store.expire(unixMs(minute(0) + 2 * DAY_MS))).toBe(2);
    expect(await days()).toBe(1);
    await store.add([at(0)]);
    expect(await days()).toBe(2);
    await store.close();
  });

  test('adds up what several controllers write at once', async () => {
    const [one, two] = [await open(), await openPostgresTelemetryStore(server.url)];
    const some = Array.from({ length: 200 }, (_, number) => aRollup({ start: minute(number) }));
    await Promise.all([one.add(some), two.add(some.toReversed()), one.add(some), two.add(some)]);
    const { deviceId, metric } = aRollup();
    const all = { deviceId, metric, from: unixMs(0), to: unixMs(2e12), limit: 1000 };
    const [rollup] = await one.read({ ...all, step: 3_600_000 * 24 * 365 } as Parameters<typeof one.read>[0]);
    expect(rollup?.n).toBe(2 * 4 * 200);
    await one.close();
    await two.close();
  });

  test('says when there is no server', async () => {
    const nobody = openPostgresTelemetryStore('postgres://nobody@127.0.0.1:1/none');
    await expect(nobody).rejects.toMatchObject({ code: 'store.unavailable', retryable: true });
  });
});
