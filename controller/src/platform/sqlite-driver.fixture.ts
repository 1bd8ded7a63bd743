import type { SqliteDriver } from './sqlite-driver.js';

const sqlite3: SqliteDriver = 'sqlite3';

/** False where it could not be compiled; by a variable, since its types are missing then too. */
export const hasSqlite3: boolean = await import(sqlite3 as string).then(
  () => true,
  () => false,
);

export const driversHere: readonly SqliteDriver[] = hasSqlite3 ? [sqlite3, 'libsql'] : ['libsql'];
