import { deviceId } from '@fleetgate/shared/ids';
import { metricSchema } from '@fleetgate/shared/protocol/telemetry';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import type { DataSource, EntityManager } from 'typeorm';

import { connectPostgres, translate } from '../platform/postgres-database.js';
import type { Rollup, TelemetryStore } from './telemetry-store.js';

const DAY_MS = 86_400_000;
const CONNECTIONS = 2;
const ROLLUPS_A_STATEMENT = 5_000;
/** What controllers that make or drop a day at once take turns by. */
const DAYS_LOCK = 7_331_003;

const TABLE = `CREATE TABLE IF NOT EXISTS rollup (
  device_id TEXT NOT NULL, metric TEXT NOT NULL, start_ms BIGINT NOT NULL,
  n BIGINT NOT NULL, sum DOUBLE PRECISION NOT NULL, min DOUBLE PRECISION NOT NULL, max DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (device_id, metric, start_ms)
) PARTITION BY RANGE (start_ms)`;

const ADD = `INSERT INTO rollup AS kept (device_id, metric, start_ms, n, sum, min, max)
  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[], $7::float8[])
  ON CONFLICT (device_id, metric, start_ms) DO UPDATE SET n = kept.n + excluded.n, sum = kept.sum + excluded.sum,
    min = LEAST(kept.min, excluded.min), max = GREATEST(kept.max, excluded.max)`;

const READ = `SELECT start_ms - start_ms % $1::bigint AS start, sum(n)::bigint AS n, sum(sum) AS sum, min(min) AS min, max(max) AS max
  FROM rollup WHERE device_id = $2 AND metric = $3 AND start_ms >= $4 AND start_ms < $5
  GROUP BY 1 ORDER BY 1 LIMIT $6`;

const DAYS = "SELECT relid::regclass::text AS name FROM pg_partition_tree('rollup') WHERE isleaf";

/**
 * Opens telemetry on the PostgreSQL server at `url`: a table with a partition for each day (UTC), which is dropped as a whole when it
 * is too old. Several controllers write to it at once; what they know of one minute is added up. Rejects with `store.unavailable`.
 */
export async function openPostgresTelemetryStore(url: string): Promise<TelemetryStore> {
  let source: DataSource | undefined;
  try {
    source = await connectPostgres(url, CONNECTIONS);
    const store = new PostgresTelemetryStore(source);
    await store.prepare();
    return store;
  } catch (error) {
    await source?.destroy().catch(() => {});
    throw translate(error);
  }
}

class PostgresTelemetryStore implements TelemetryStore {
  readonly #source: DataSource;
  /** Days that are known to have a partition. */
  readonly #days = new Set<number>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(source: DataSource) {
    this.#source = source;
  }

  async prepare(): Promise<void> {
    await this.#source.transaction(async (manager) => {
      await manager.query(`SELECT pg_advisory_xact_lock(${DAYS_LOCK})`);
      await manager.query(TABLE);
    });
  }

  add(rollups: readonly Rollup[]): Promise<void> {
    if (rollups.length === 0) return Promise.resolve();
    return this.#inTurn(async () => {
      await this.#makeDays(rollups);
      const rows = together(rollups);
      await this.#source.transaction(async (manager) => {
        for (let at = 0; at < rows.length; at += ROLLUPS_A_STATEMENT) {
          await manager.query(ADD, columnsOf(rows.slice(at, at + ROLLUPS_A_STATEMENT)));
        }
      });
    });
  }

  async read(query: Parameters<TelemetryStore['read']>[0]): Promise<readonly Rollup[]> {
    const { step, from, to, limit } = query;
    try {
      const rows: readonly Omit<Rollup, 'deviceId' | 'metric'>[] = await this.#source.query(READ, [
        ...[step, query.deviceId, query.metric, from, to, limit],
      ]);
      const of = { deviceId: deviceId(query.deviceId), metric: metricSchema.parse(query.metric) };
      return rows.map(({ start, n, sum, min, max }) => ({ ...of, start: unixMs(start), n, sum, min, max }));
    } catch (error) {
      throw translate(error);
    }
  }

  expire(before: UnixMs): Promise<number> {
    return this.#inTurn(() =>
      this.#source.transaction(async (manager) => {
        await manager.query(`SELECT pg_advisory_xact_lock(${DAYS_LOCK})`);
        let removed = 0;
        for (const { name, day } of await this.#partitions(manager)) {
          if ((day + 1) * DAY_MS > before) continue;
          const [rows]: { readonly n: number }[] = await manager.query(`SELECT count(*) AS n FROM ${name}`);
          await manager.query(`DROP TABLE ${name}`);
          this.#days.delete(day);
          removed += rows?.n ?? 0;
        }
        const [, rest]: [unknown, number] = await manager.query('DELETE FROM rollup WHERE start_ms < $1', [before]);
        return removed + rest;
      }),
    );
  }

  async close(): Promise<void> {
    await this.#tail;
    if (this.#source.isInitialized) await this.#source.destroy();
  }

  async #makeDays(rollups: readonly Rollup[]): Promise<void> {
    const missing = new Set(rollups.map(({ start }) => dayOf(start)).filter((day) => !this.#days.has(day)));
    if (missing.size === 0) return;
    await this.#source.transaction(async (manager) => {
      await manager.query(`SELECT pg_advisory_xact_lock(${DAYS_LOCK})`);
      for (const day of missing) {
        const range = `FROM (${day * DAY_MS}) TO (${(day + 1) * DAY_MS})`;
        await manager.query(`CREATE TABLE IF NOT EXISTS rollup_${day} PARTITION OF rollup FOR VALUES ${range}`);
      }
    });
    for (const day of missing) this.#days.add(day);
  }

  async #partitions(manager: EntityManager): Promise<readonly { readonly name: string; readonly day: number }[]> {
    const rows: readonly { readonly name: string }[] = await manager.query(DAYS);
    return rows.flatMap(({ name }) => {
      const day = /^rollup_(\d+)$/.exec(name)?.[1];
      return day === undefined ? [] : [{ name, day: Number(day) }];
    });
  }

  /** One call after the other: what is added later is there later. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work).catch((error: unknown) => {
      // A day may have been dropped by another controller.
      this.#days.clear();
      throw translate(error);
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

const dayOf = (start: UnixMs): number => Math.floor(start / DAY_MS);

/**
 * One row for each device, metric and minute: a statement may not touch a row twice. In the order of the key, so that of
 * controllers that write the same rows none waits for one that waits for it.
 */
function together(rollups: readonly Rollup[]): readonly Rollup[] {
  const rows = new Map<string, Rollup>();
  for (const rollup of rollups) {
    const key = `${rollup.deviceId} ${rollup.metric} ${rollup.start}`;
    const known = rows.get(key);
    rows.set(key, known === undefined ? rollup : sumOf(known, rollup));
  }
  return [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, rollup]) => rollup);
}

function sumOf(a: Rollup, b: Rollup): Rollup {
  return { ...a, n: a.n + b.n, sum: a.sum + b.sum, min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
}

function columnsOf(rows: readonly Rollup[]): unknown[] {
  const column = (of: (row: Rollup) => string | number): (string | number)[] => rows.map(of);
  return [
    column((row) => row.deviceId),
    column((row) => row.metric),
    column((row) => row.start),
    column((row) => row.n),
    column((row) => row.sum),
    column((row) => row.min),
    column((row) => row.max),
  ];
}
