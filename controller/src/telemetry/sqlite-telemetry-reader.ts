import { stat } from 'node:fs/promises';

import type { DataSource } from 'typeorm';

import { FleetError } from '@fleetgate/shared/errors';
import { deviceId } from '@fleetgate/shared/ids';
import { metricSchema } from '@fleetgate/shared/protocol/telemetry';
import { unixMs } from '@fleetgate/shared/units/quantity';

import { connect, type SqliteTelemetryOptions, translate } from './sqlite-telemetry-file.js';
import type { Rollup, TelemetryStore } from './telemetry-store.js';

const READ = `SELECT start_ms - start_ms % ? AS start, sum(n) AS n, sum(sum) AS sum, min(min) AS min, max(max) AS max
  FROM rollup WHERE device_id = ? AND metric = ? AND start_ms >= ? AND start_ms < ?
  GROUP BY 1 ORDER BY 1 LIMIT ?`;

/** Follows a database that another process writes: answers nothing while there is none, and finds one that took its place. */
export class SqliteTelemetryReader implements TelemetryStore {
  readonly #path: string;
  readonly #options: SqliteTelemetryOptions;
  #open: { readonly source: DataSource; readonly inode: number } | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(path: string, options: SqliteTelemetryOptions) {
    this.#path = path;
    this.#options = options;
  }

  add(): Promise<void> {
    return Promise.reject(new FleetError('internal.invariant', `telemetry database ${this.#path} is open for reading`));
  }

  expire(): Promise<number> {
    return Promise.reject(new FleetError('internal.invariant', `telemetry database ${this.#path} is open for reading`));
  }

  read(query: Parameters<TelemetryStore['read']>[0]): Promise<readonly Rollup[]> {
    const turn = this.#tail.then(async () => {
      try {
        const source = await this.#current();
        return source === undefined ? [] : await readRollups(source, query);
      } catch (error) {
        await this.#forget();
        throw translate(error, this.#path);
      }
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }

  async close(): Promise<void> {
    await this.#tail;
    await this.#forget();
  }

  /** The database as it is now, or undefined before the writer has made its table. */
  async #current(): Promise<DataSource | undefined> {
    const found = await stat(this.#path).catch(() => undefined);
    if (found === undefined || this.#open?.inode !== found.ino) await this.#forget();
    if (found === undefined) return undefined;
    if (this.#open !== undefined) return this.#open.source;
    const source = await connect(this.#path, this.#options);
    this.#open = { source, inode: found.ino };
    await source.query('PRAGMA query_only = ON');
    const tables: readonly unknown[] = await source.query("SELECT 1 FROM sqlite_master WHERE name = 'rollup'");
    if (tables.length > 0) return source;
    await this.#forget();
    return undefined;
  }

  async #forget(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.source.destroy().catch(() => {});
  }
}

interface Row {
  readonly start: number;
  readonly n: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
}

/** Rollups of one metric of one device, joined into steps. */
export async function readRollups(
  source: DataSource,
  query: Parameters<TelemetryStore['read']>[0],
): Promise<readonly Rollup[]> {
  const rows: readonly Row[] = await source.query(READ, [
    query.step,
    query.deviceId,
    query.metric,
    query.from,
    query.to,
    query.limit,
  ]);
  const device = deviceId(query.deviceId);
  const metric = metricSchema.parse(query.metric);
  return rows.map(({ start, n, sum, min, max }) => ({
    deviceId: device,
    metric,
    start: unixMs(start),
    n,
    sum,
    min,
    max,
  }));
}
