import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import { DataSource, type DataSourceOptions } from 'typeorm';

import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { deviceId } from '@fleetgate/shared/ids';
import { metricSchema } from '@fleetgate/shared/protocol/telemetry';
import { type Milliseconds, type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import { RollupTable1790000000000 } from './rollup-table.migration.js';
import type { Rollup, TelemetryStore } from './telemetry-store.js';

export interface SqliteTelemetryOptions {
  /** Told when a corrupt file was moved aside, with the name it lies under now. */
  readonly onReplaced?: (movedTo: string) => void;
  readonly driver?: 'sqlite3' | 'libsql' | 'any';
}

const BUSY_TIMEOUT_MS = 5_000;
const ROLLUPS_A_STATEMENT = 5_000;

const ADD = `INSERT INTO rollup (device_id, metric, start_ms, n, sum, min, max)
  SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(?) WHERE true
  ON CONFLICT (device_id, metric, start_ms) DO UPDATE SET
    n = n + excluded.n, sum = sum + excluded.sum, min = min(min, excluded.min), max = max(max, excluded.max)`;

const READ = `SELECT start_ms - start_ms % ? AS start, sum(n) AS n, sum(sum) AS sum, min(min) AS min, max(max) AS max
  FROM rollup WHERE device_id = ? AND metric = ? AND start_ms >= ? AND start_ms < ?
  GROUP BY 1 ORDER BY 1 LIMIT ?`;

/**
 * Opens the telemetry database. `write` makes the file and brings it up to date: one process may hold it so. `read`
 * answers nothing while there is no file yet, and follows when it is replaced.
 *
 * Telemetry is no control state: a corrupt file is moved aside (`<path>.corrupt`, one kept) and a fresh one begun.
 * Rejects with `data-dir.not-writable`, `store.unavailable` (disk full, locked) or `setup.missing` (no driver); so do
 * the store's calls.
 */
export async function openSqliteTelemetryStore(
  path: string,
  mode: 'write' | 'read',
  options: SqliteTelemetryOptions = {},
): Promise<TelemetryStore> {
  if (mode === 'read') return new SqliteTelemetryReader(path, options);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw translate(error, path);
  }
  return new SqliteTelemetryWriter(path, options, await openOrReplace(path, options));
}

class SqliteTelemetryWriter implements TelemetryStore {
  readonly #path: string;
  readonly #options: SqliteTelemetryOptions;
  #source: DataSource;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(path: string, options: SqliteTelemetryOptions, source: DataSource) {
    this.#path = path;
    this.#options = options;
    this.#source = source;
  }

  async add(rollups: readonly Rollup[]): Promise<void> {
    if (rollups.length === 0) return;
    await this.#inTurn(async (source) => {
      if (rollups.length <= ROLLUPS_A_STATEMENT) {
        await source.query(ADD, [rowsOf(rollups)]);
        return;
      }
      await source.query('BEGIN IMMEDIATE');
      try {
        for (let at = 0; at < rollups.length; at += ROLLUPS_A_STATEMENT) {
          await source.query(ADD, [rowsOf(rollups.slice(at, at + ROLLUPS_A_STATEMENT))]);
        }
        await source.query('COMMIT');
      } catch (error) {
        // A full disk rolls back by itself, and then there is nothing left to roll back.
        await source.query('ROLLBACK').catch(() => {});
        throw error;
      }
    });
  }

  async read(query: Parameters<TelemetryStore['read']>[0]): Promise<readonly Rollup[]> {
    return await this.#inTurn((source) => readRollups(source, query));
  }

  async expire(before: UnixMs): Promise<number> {
    return await this.#inTurn(async (source) => {
      await source.query('DELETE FROM rollup WHERE start_ms < ?', [before]);
      const rows: readonly { readonly n: number }[] = await source.query('SELECT changes() AS n');
      return rows[0]?.n ?? 0;
    });
  }

  async close(): Promise<void> {
    await this.#tail;
    if (!this.#source.isInitialized) return;
    // libsql leaves the log behind when it closes. Emptied, the one file is the whole database.
    await this.#source.query('PRAGMA wal_checkpoint(TRUNCATE)').catch(() => {});
    await this.#source.destroy();
  }

  /** One call after the other, because they share a connection. A file found corrupt is replaced and the call repeated. */
  #inTurn<T>(work: (source: DataSource) => Promise<T>): Promise<T> {
    const turn = this.#tail.then(async () => {
      try {
        return await work(this.#source);
      } catch (error) {
        const translated = translate(error, this.#path);
        if (!isFleetError(translated, 'store.corrupt')) throw translated;
        await this.#source.destroy().catch(() => {});
        await moveAside(this.#path, this.#options);
        this.#source = await openOrReplace(this.#path, this.#options);
        return await work(this.#source);
      }
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

class SqliteTelemetryReader implements TelemetryStore {
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

async function openOrReplace(path: string, options: SqliteTelemetryOptions): Promise<DataSource> {
  try {
    return await openChecked(path, options);
  } catch (error) {
    if (!isFleetError(error, 'store.corrupt')) throw error;
  }
  await moveAside(path, options);
  return await openChecked(path, options);
}

async function openChecked(path: string, options: SqliteTelemetryOptions): Promise<DataSource> {
  let source: DataSource | undefined;
  try {
    source = await connect(path, options);
    await source.query('PRAGMA synchronous = NORMAL');
    const rows: readonly Readonly<Record<string, unknown>>[] = await source.query('PRAGMA quick_check(1)');
    const answer = Object.values(rows[0] ?? {})[0];
    if (answer !== 'ok')
      throw new FleetError('store.corrupt', `telemetry database ${path} is damaged: ${String(answer)}`);
    await source.runMigrations({ transaction: 'all' });
    return source;
  } catch (error) {
    await source?.destroy().catch(() => {});
    throw translate(error, path);
  }
}

async function moveAside(path: string, options: SqliteTelemetryOptions): Promise<void> {
  const aside = `${path}.corrupt`;
  try {
    await rename(path, aside);
    for (const suffix of ['-wal', '-shm']) await rm(`${path}${suffix}`, { force: true });
  } catch (error) {
    throw translate(error, path);
  }
  options.onReplaced?.(aside);
}

async function connect(path: string, { driver = 'any' }: SqliteTelemetryOptions): Promise<DataSource> {
  const shared = { database: path, migrations: [RollupTable1790000000000], enableWAL: true, logging: false };
  const sqlite3 = driver === 'libsql' ? undefined : await load('sqlite3');
  const libsql = driver === 'sqlite3' || sqlite3 !== undefined ? undefined : await load('libsql');
  if (sqlite3 === undefined && libsql === undefined) {
    throw new FleetError('setup.missing', 'no SQLite driver can be loaded: neither sqlite3 nor libsql', {
      hint: 'run npm install again; sqlite3 needs g++, make and python3, libsql needs none of them',
    });
  }
  const options: DataSourceOptions =
    sqlite3 === undefined
      ? { ...shared, type: 'better-sqlite3', driver: libsql, timeout: BUSY_TIMEOUT_MS }
      : { ...shared, type: 'sqlite', driver: sqlite3, busyTimeout: BUSY_TIMEOUT_MS };
  return await new DataSource(options).initialize();
}

async function load(name: 'sqlite3' | 'libsql'): Promise<unknown> {
  try {
    const loaded = (await (name === 'sqlite3' ? import('sqlite3') : import('libsql'))) as { default: unknown };
    return loaded.default;
  } catch {
    // Optional dependencies: npm leaves out what it could not build, and the other one is tried.
    return undefined;
  }
}

const rowsOf = (rollups: readonly Rollup[]): string =>
  JSON.stringify(
    rollups.map(({ deviceId, metric, start, n, sum, min, max }) => [deviceId, metric, start, n, sum, min, max]),
  );

interface Row {
  readonly start: number;
  readonly n: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
}

async function readRollups(
  source: DataSource,
  query: {
    readonly deviceId: string;
    readonly metric: string;
    readonly from: UnixMs;
    readonly to: UnixMs;
    readonly step: Milliseconds;
    readonly limit: number;
  },
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

function translate(error: unknown, path: string): FleetError {
  if (isFleetError(error)) return error;
  const what = `telemetry database ${path}`;
  const text = messageOf(error);
  const code = codeOf(error);
  if (/NOTADB|CORRUPT/.test(code) || /not a database|malformed/.test(text)) {
    return new FleetError('store.corrupt', `${what} is damaged: ${text}`, { cause: error });
  }
  if (/READONLY|CANTOPEN|EACCES|EROFS|EPERM|ENOTDIR|EEXIST/.test(code)) {
    return new FleetError('data-dir.not-writable', `${what} cannot be written: ${text}`, {
      cause: error,
      hint: 'choose a directory you may write to with --data',
    });
  }
  return new FleetError('store.unavailable', `${what} cannot be used now: ${text}`, {
    cause: error,
    retryable: true,
    hint: 'check that the disk of the data directory is not full',
  });
}

function codeOf(error: unknown): string {
  for (const candidate of [error, error instanceof Error && 'driverError' in error ? error.driverError : undefined]) {
    if (candidate instanceof Error && 'code' in candidate && typeof candidate.code === 'string') return candidate.code;
  }
  return '';
}
