import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { DataSource } from 'typeorm';

import { isFleetError } from '@fleetgate/shared/errors';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { moveAside, openOrReplace, type SqliteTelemetryOptions, translate } from './sqlite-telemetry-file.js';
import { readRollups, SqliteTelemetryReader } from './sqlite-telemetry-reader.js';
import type { Rollup, TelemetryStore } from './telemetry-store.js';

const ROLLUPS_A_STATEMENT = 5_000;

const ADD = `INSERT INTO rollup (device_id, metric, start_ms, n, sum, min, max)
  SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(?) WHERE true
  ON CONFLICT (device_id, metric, start_ms) DO UPDATE SET
    n = n + excluded.n, sum = sum + excluded.sum, min = min(min, excluded.min), max = max(max, excluded.max)`;

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

const rowsOf = (rollups: readonly Rollup[]): string =>
  JSON.stringify(
    rollups.map(({ deviceId, metric, start, n, sum, min, max }) => [deviceId, metric, start, n, sum, min, max]),
  );
