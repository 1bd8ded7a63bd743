import { FleetError } from '@fleetgate/shared/errors';
import type { DataSourceOptions } from 'typeorm';

export type SqliteDriver = 'sqlite3' | 'libsql';

/** Longest wait for a lock that another process holds (a backup, a `sqlite3` shell), ms. */
const BUSY_TIMEOUT_MS = 5000;

/**
 * TypeORM's options for the SQLite file `path`, with the driver that there is: sqlite3, or libsql where that was not built
 * (no compiler). Throws `setup.missing` when neither can be loaded.
 */
export async function sqliteOptions(
  path: string,
  migrations: NonNullable<DataSourceOptions['migrations']>,
  driver: SqliteDriver | 'any',
): Promise<DataSourceOptions> {
  const shared = { database: path, migrations, enableWAL: true, logging: false } as const;
  const sqlite3 = driver === 'libsql' ? undefined : await load('sqlite3');
  // TypeORM asks for the verbose driver, which takes a stack trace at every statement.
  const terse = { verbose: () => sqlite3 };
  if (sqlite3 !== undefined) return { ...shared, type: 'sqlite', driver: terse, busyTimeout: BUSY_TIMEOUT_MS };
  const libsql = driver === 'sqlite3' ? undefined : await load('libsql');
  if (libsql !== undefined) return { ...shared, type: 'better-sqlite3', driver: libsql, timeout: BUSY_TIMEOUT_MS };
  throw new FleetError('setup.missing', 'no SQLite driver can be loaded: neither sqlite3 nor libsql', {
    hint: 'run npm install again; sqlite3 needs g++, make and python3, libsql needs none of them',
  });
}

/** The code of SQLite or of the file system behind an error of TypeORM; empty when there is none. */
export function sqliteCode(error: unknown): string {
  for (const candidate of [error, error instanceof Error && 'driverError' in error ? error.driverError : undefined]) {
    if (candidate instanceof Error && 'code' in candidate && typeof candidate.code === 'string') return candidate.code;
  }
  return '';
}

async function load(name: SqliteDriver): Promise<unknown> {
  try {
    // By a variable: npm leaves out what it could not build, and then the compiler finds no types of it.
    const loaded = (await import(name)) as { readonly default: unknown };
    return loaded.default;
  } catch {
    // The other one is tried.
    return undefined;
  }
}
