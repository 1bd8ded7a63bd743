import { createHash } from 'node:crypto';

import { inject } from 'vitest';

import type { Database, DatabaseSchema } from '../../controller/src/platform/database.ts';
import { connectPostgres, openPostgres } from '../../controller/src/platform/postgres-database.ts';

/** In place of `openDatabase` of SQLite: a database of the run's server for each path, made when it is first opened. */
export async function openDatabase(path: string, schemas: readonly DatabaseSchema[]): Promise<Database> {
  const url = inject('postgresUrl');
  const name = `path_${createHash('sha256').update(path).digest('hex').slice(0, 24)}`;
  const server = await connectPostgres(url, 1);
  try {
    const found: readonly unknown[] = await server.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
    if (found.length === 0) await server.query(`CREATE DATABASE ${name}`);
  } finally {
    await server.destroy();
  }
  return openPostgres(url.replace(/postgres$/, name), schemas);
}
