import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { EntitySchema, type MigrationInterface, type QueryRunner } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database, DatabaseSchema } from './database.js';
import { openDatabase } from './sqlite-database.js';
import { driversHere, hasSqlite3 } from './sqlite-driver.fixture.js';

interface Note {
  id: number;
  text: string;
}

const noteEntity = new EntitySchema<Note>({
  name: 'Note',
  tableName: 'note',
  columns: { id: { type: 'integer', primary: true }, text: { type: 'text' } },
});

class NoteTable1700000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)');
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE note');
  }
}

const schema: DatabaseSchema = { entities: [noteEntity], migrations: [NoteTable1700000000000] };

describe.each(driversHere)('openDatabase with %s', (driver) => {
  let folder: string;
  const opened: Database[] = [];

  const open = async (path = join(folder, 'control.sqlite'), schemas = [schema]): Promise<Database> => {
    const database = await openDatabase(path, schemas, driver);
    opened.push(database);
    return database;
  };
  const ids = async (database: Database): Promise<readonly number[]> =>
    (await database.source.getRepository(noteEntity).find({ order: { id: 'ASC' } })).map((note) => note.id);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-db-'));
  });
  afterEach(async () => {
    for (const database of opened.splice(0)) await database.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('uses WAL and foreign keys', async () => {
    const database = await open();
    expect(await database.source.query('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    expect(await database.source.query('PRAGMA foreign_keys')).toEqual([{ foreign_keys: 1 }]);
  });

  it('commits again after a write that SQLite rolled back by itself, as it does where the disk is full', async () => {
    const database = await open();
    const rolledBack = database.write(async (manager) => {
      await manager.query('ROLLBACK');
      throw new Error('disk full');
    });
    await expect(rolledBack).rejects.toThrow('disk full');
    const failed = database.write(async (manager) => {
      await manager.insert(noteEntity, { id: 1, text: 'not kept' });
      throw new Error('another one');
    });
    await expect(failed).rejects.toThrow('another one');
    await database.write(async (manager) => void (await manager.insert(noteEntity, { id: 2, text: 'kept' })));
    const other = await open();
    expect(await ids(other)).toEqual([2]);
  });

  it('runs migrations once and keeps what was written', async () => {
    const first = await open();
    await first.write((manager) => manager.insert(noteEntity, { id: 1, text: 'one' }));
    await first.close();
    const second = await open();
    expect(await ids(second)).toEqual([1]);
    expect(await second.source.query('SELECT name FROM migrations')).toEqual([{ name: 'NoteTable1700000000000' }]);
  });

  it('commits eight concurrent writes and rolls a failing one back alone', async () => {
    const database = await open();
    const results = await Promise.allSettled(
      Array.from({ length: 9 }, (_, id) =>
        database.write(async (manager) => {
          await manager.insert(noteEntity, { id, text: 'first half' });
          if (id === 4) throw new Error('changed my mind');
          await manager.update(noteEntity, { id }, { text: 'whole' });
          return id;
        }),
      ),
    );
    expect(results.map((result) => result.status === 'fulfilled')).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7, 8].map((id) => id !== 4),
    );
    expect(await ids(database)).toEqual([0, 1, 2, 3, 5, 6, 7, 8]);
    expect(await database.source.getRepository(noteEntity).countBy({ text: 'whole' })).toBe(8);
  });

  it('passes the error of the work on as it is', async () => {
    const database = await open();
    await expect(database.write(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
  });

  it('ends a write inside a write, which waits for itself, and goes on', async () => {
    const database = await openDatabase(join(folder, 'control.sqlite'), [schema], driver, 20);
    opened.push(database);
    const nested = database.write(async (manager) => {
      await manager.insert(noteEntity, { id: 1, text: 'outer' });
      await database.write(() => Promise.resolve());
    });
    await expect(nested).rejects.toMatchObject({ code: 'store.unavailable', retryable: true });
    await database.write((manager) => manager.insert(noteEntity, { id: 2, text: 'next' }));
    expect(await ids(database)).toEqual([2]);
  });

  it('finishes waiting writes before it closes, and takes none after', async () => {
    const database = await open();
    const write = database.write((manager) => manager.insert(noteEntity, { id: 1, text: 'late' }));
    await database.close();
    await write;
    await expect(database.write(() => Promise.resolve())).rejects.toMatchObject({ code: 'store.unavailable' });
    expect(await ids(await open())).toEqual([1]);
  });

  it('calls a file that is no database store.corrupt, with a hint', async () => {
    const path = join(folder, 'control.sqlite');
    writeFileSync(path, 'this is not a database, and long enough to be taken for a header '.repeat(40));
    await expect(open(path)).rejects.toMatchObject({
      code: 'store.corrupt',
      hint: expect.stringContaining(path) as string,
    });
  });

  it('calls a database with a damaged page store.corrupt', async () => {
    const path = join(folder, 'control.sqlite');
    const database = await open(path);
    await database.write(async (manager) => {
      for (let id = 0; id < 200; id += 1) await manager.insert(noteEntity, { id, text: 'x'.repeat(400) });
    });
    await database.close();
    const content = readFileSync(path);
    content.fill(0x5a, 4096 * 3, 4096 * 6);
    writeFileSync(path, content);
    await expect(open(path)).rejects.toMatchObject({ code: 'store.corrupt' });
  });

  it('refuses a folder that cannot be written', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(open(join(file, 'control.sqlite'))).rejects.toMatchObject({ code: 'data-dir.not-writable' });
  });

  it('leaves a database of a later release alone', async () => {
    const database = await open();
    await database.source.query("INSERT INTO migrations (timestamp, name) VALUES (1, 'FromTheFuture1')");
    await database.close();
    await expect(open()).rejects.toMatchObject({ code: 'store.unavailable' });
  });
});

it.skipIf(!hasSqlite3)(`prefers sqlite3${hasSqlite3 ? '' : ' (skipped: it was not compiled)'}`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-db-'));
  const database = await openDatabase(join(folder, 'control.sqlite'), [schema]);
  expect(database.source.options.type).toBe('sqlite');
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});
