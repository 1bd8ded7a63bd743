import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, expect, test } from 'vitest';

import { openDatabase } from './sqlite-database.js';
import { MOST_UPSERTED, upsertRows } from './sqlite-upsert.js';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

test('rows are inserted, or replaced by their key, more than fit into one statement', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-upsert-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const database = await openDatabase(join(directory, 'some.sqlite'), []);
  cleanups.push(() => database.close());
  await database.source.query('CREATE TABLE "order" ("id" TEXT PRIMARY KEY, "atMs" INTEGER, "open" BOOLEAN)');
  const put = (rows: readonly (readonly unknown[])[]): Promise<void> =>
    database.write((manager) => upsertRows(manager, 'order', ['id', 'atMs', 'open'], 'id', rows));
  const many = Array.from({ length: 2 * MOST_UPSERTED + 1 }, (_, at) => [`row-${at}`, at, true]);
  await put(many);
  await put([['row-7', 70, false]]);
  await put([]);
  const count = (where: string): Promise<unknown> => database.source.query(`SELECT count(*) n FROM "order" ${where}`);
  expect(await count('')).toEqual([{ n: many.length }]);
  expect(await count('WHERE open')).toEqual([{ n: many.length - 1 }]);
  expect(await database.source.query('SELECT * FROM "order" WHERE id = \'row-7\'')).toEqual([
    { id: 'row-7', atMs: 70, open: 0 },
  ]);
});
