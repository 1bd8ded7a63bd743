import { accessSync, closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { DataSource, type EntityManager } from 'typeorm';

import type { Database, DatabaseSchema } from './database.js';
import { sqliteCode, type SqliteDriver, sqliteOptions } from './sqlite-driver.js';

/** Writes that may wait for their turn; more than that means that the disk has stopped. */
const MAX_WAITING_WRITES = 10_000;
/** Longest wait of a write for its turn, ms: many times what a batch of records takes. */
const TURN_DEADLINE_MS = 60_000;

/**
 * Opens (or makes) the SQLite database `path`, brings it up to date by the migrations of `schemas`, and checks it.
 *
 * Prefers sqlite3; where that was not built (no compiler) the same database is read by libsql. Throws
 * `data-dir.not-writable`, `store.corrupt` (the file is damaged or no database) or `store.unavailable`.
 */
export async function openDatabase(
  path: string,
  schemas: readonly DatabaseSchema[],
  driver: SqliteDriver | 'any' = 'any',
  turnDeadlineMs = TURN_DEADLINE_MS,
): Promise<Database> {
  checkWritable(path);
  const migrations = schemas.flatMap((schema) => schema.migrations);
  const entities = schemas.flatMap((schema) => schema.entities);
  const source = new DataSource({ ...(await sqliteOptions(path, migrations, driver)), entities });
  try {
    await source.initialize();
    // What was committed is on the disk: a power cut takes nothing of it.
    await source.query('PRAGMA synchronous = FULL');
    await checkIntegrity(source, path);
    await checkNotNewer(source, path);
    await source.runMigrations({ transaction: 'all' });
  } catch (error) {
    if (source.isInitialized) await source.destroy();
    throw translate(error, path);
  }
  return new SqliteDatabase(source, path, turnDeadlineMs);
}

class SqliteDatabase implements Database {
  readonly source: DataSource;
  readonly #path: string;
  readonly #turnDeadlineMs: number;
  /** Never rejects: the next write starts whatever became of this one. */
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  #closed = false;

  constructor(source: DataSource, path: string, turnDeadlineMs: number) {
    this.source = source;
    this.#path = path;
    this.#turnDeadlineMs = turnDeadlineMs;
  }

  async write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    if (this.#closed) throw new FleetError('store.unavailable', `database ${this.#path} is closed`);
    if (this.#waiting >= MAX_WAITING_WRITES) {
      throw new FleetError('store.unavailable', `database ${this.#path} has ${this.#waiting} writes waiting`, {
        retryable: true,
        hint: 'look at the disk of the data directory: it is not keeping up',
      });
    }
    this.#waiting += 1;
    try {
      return await this.#inTurn(work);
    } catch (error) {
      throw translate(error, this.#path);
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Runs `work` when its turn comes. The deadline is also what ends a write inside a write, which waits for itself. */
  #inTurn<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let isLate = false;
      const deadline = setTimeout(() => {
        isLate = true;
        reject(
          new FleetError('store.unavailable', `a write to ${this.#path} did not begin in ${this.#turnDeadlineMs} ms`, {
            retryable: true,
            hint: 'look at the disk of the data directory: it is not keeping up',
          }),
        );
      }, this.#turnDeadlineMs);
      this.#tail = this.#tail.then(async () => {
        clearTimeout(deadline);
        if (!isLate) await this.#transaction(work).then(resolve, reject);
      });
    });
  }

  async #transaction<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    try {
      return await this.source.transaction(work);
    } catch (error) {
      await this.#leaveTransaction();
      throw error;
    }
  }

  /**
   * Where the disk is full, SQLite has rolled back by itself and TypeORM's ROLLBACK fails: it would take every later
   * transaction for one within the failed one, and what these write would never be committed.
   */
  async #leaveTransaction(): Promise<void> {
    const runner = this.source.createQueryRunner();
    if (!runner.isTransactionActive) return;
    // Something to roll back; refused where there still is something.
    await runner.query('BEGIN').catch(() => {});
    await runner.rollbackTransaction();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#tail;
    // libsql leaves the log behind when it closes; with it emptied, the one file is the whole database.
    await this.source.query('PRAGMA wal_checkpoint(TRUNCATE)');
    await this.source.destroy();
  }
}

function checkWritable(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    accessSync(dirname(path), constants.W_OK);
    // Made here, so that it is its owner's alone; SQLite gives its log the same rights.
    closeSync(openSync(path, 'a', 0o600));
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw notWritable(path, cause);
  }
}

async function checkIntegrity(source: DataSource, path: string): Promise<void> {
  const rows: readonly Readonly<Record<string, unknown>>[] = await source.query('PRAGMA quick_check(1)');
  const answer = Object.values(rows[0] ?? {})[0];
  if (answer !== 'ok') throw corrupt(path, String(answer));
}

/** A database that a later release has changed is left alone: its tables may mean something else by now. */
async function checkNotNewer(source: DataSource, path: string): Promise<void> {
  const tables: readonly unknown[] = await source.query(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
  );
  if (tables.length === 0) return;
  const done: readonly { readonly name: string }[] = await source.query('SELECT name FROM migrations');
  const known = new Set(source.migrations.map((migration) => migration.name ?? migration.constructor.name));
  const unknown = done.find(({ name }) => !known.has(name));
  if (unknown === undefined) return;
  throw new FleetError(
    'store.unavailable',
    `database ${path} was written by another release (it has the change ${unknown.name}, which this one does not know)`,
    { hint: 'start the release that wrote it, or give another data directory with --data' },
  );
}

function corrupt(path: string, what: string, cause?: unknown): FleetError {
  return new FleetError('store.corrupt', `database ${path} is damaged: ${what}`, {
    hint: `move ${path} away (with its -wal and -shm) and start again: devices have to enrol anew, or restore a backup`,
    cause,
  });
}

function notWritable(path: string, cause: unknown): FleetError {
  return new FleetError('data-dir.not-writable', `database ${path} cannot be written: ${messageOf(cause)}`, {
    hint: 'choose a directory you may write to with --data',
    cause,
  });
}

/** FleetErrors and errors of our own code pass; what SQLite itself reports gets a code. */
function translate(error: unknown, path: string): unknown {
  if (isFleetError(error)) return error;
  const text = messageOf(error);
  const code = sqliteCode(error);
  if (/NOTADB|CORRUPT/.test(code) || /not a database|malformed/.test(text)) return corrupt(path, text, error);
  if (/READONLY|CANTOPEN/.test(code) || /readonly database|unable to open/i.test(text)) return notWritable(path, error);
  if (/FULL|IOERR|BUSY|LOCKED/.test(code)) {
    return new FleetError('store.unavailable', `database ${path} cannot be used now: ${text}`, {
      retryable: true,
      hint: 'check that the disk of the data directory is not full and that no other program holds the database',
      cause: error,
    });
  }
  return error;
}
