/**
 * What a power cut leaves: files whose last writes never reached the disk. Simulated, by cutting copies of them off at random
 * places, or by leaving zeros where blocks were not written.
 */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { EntitySchema, type MigrationInterface, type QueryRunner } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { openJournal } from './disk-journal.js';
import { openDatabase } from './sqlite-database.js';
import { driversHere } from './sqlite-driver.fixture.js';

const CUTS = 60;
const BATCHES = 20;
const ROWS = 5;

const rowEntity = new EntitySchema<{ id: number; batch: number }>({
  name: 'Row',
  tableName: 'row_of_batch',
  columns: { id: { type: 'integer', primary: true }, batch: { type: 'integer' } },
});
class RowTable1700000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE row_of_batch (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL)');
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE row_of_batch');
  }
}
const schema = { entities: [rowEntity], migrations: [RowTable1700000000000] };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-power-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a journal after a power cut', () => {
  it.each(['cut off', 'zeros'])('has whole records only, from the first on: %s', (how) => {
    const random = new SeededRandom(5);
    const path = join(folder, 'requests.journal');
    const journal = openJournal(path, silentLogger);
    const records = Array.from({ length: 40 }, (_, i) => JSON.stringify({ id: i, text: 'é'.repeat(i) }));
    for (const record of records) journal.append(record);
    journal.close();
    const whole = readFileSync(path);
    for (let cut = 0; cut < CUTS; cut++) {
      const at = Math.floor(random.uniform() * whole.length);
      const left =
        how === 'zeros'
          ? Buffer.concat([whole.subarray(0, at), Buffer.alloc(whole.length - at)])
          : whole.subarray(0, at);
      writeFileSync(path, left);
      const again = openJournal(path, silentLogger);
      expect(again.left).toEqual(records.slice(0, again.left.length));
      // What comes after a torn line is not spoilt by it.
      again.append('{"id":"next"}');
      again.close();
      const last = openJournal(path, silentLogger);
      expect(last.left.at(-1)).toBe('{"id":"next"}');
      last.close();
    }
  });
});

describe.each(driversHere)('a database after a power cut, with %s', (driver) => {
  it('is whole, and has whole batches only, from the first on', async () => {
    const random = new SeededRandom(9);
    const path = join(folder, 'control.sqlite');
    const database = await openDatabase(path, [schema], driver);
    expect(await database.source.query('PRAGMA synchronous')).toEqual([{ synchronous: 2 }]);
    for (let batch = 0; batch < BATCHES; batch++) {
      const rows = Array.from({ length: ROWS }, (_, i) => ({ id: batch * ROWS + i, batch }));
      await database.write((manager) => manager.insert(rowEntity, rows));
    }
    const walBytes = statSync(`${path}-wal`).size;
    for (let cut = 0; cut < CUTS / 6; cut++) {
      const copy = join(folder, `cut-${cut}`, 'control.sqlite');
      mkdirSync(join(folder, `cut-${cut}`));
      copyFileSync(path, copy);
      copyFileSync(`${path}-wal`, `${copy}-wal`);
      truncateSync(`${copy}-wal`, Math.floor(random.uniform() * walBytes));
      const left = await openDatabase(copy, [schema], driver);
      const ids = (await left.source.getRepository(rowEntity).find({ order: { id: 'ASC' } })).map(({ id }) => id);
      expect(ids).toEqual(Array.from({ length: ids.length }, (_, id) => id));
      expect(ids.length % ROWS).toBe(0);
      await left.close();
    }
    await database.close();
  });
});

describe('a journal that is written to while the disk is at work', () => {
  it('forces what came meanwhile as well, and what is left when it closes', () => {
    vi.useFakeTimers();
    try {
      const forced: ((error: Error | null) => void)[] = [];
      const journal = openJournal(join(folder, 'slow.journal'), silentLogger, (_, done) => void forced.push(done));
      journal.append('{"id":1}');
      journal.append('{"id":2}');
      vi.advanceTimersByTime(50);
      expect(forced).toHaveLength(1);
      journal.append('{"id":3}');
      vi.advanceTimersByTime(1000);
      expect(forced).toHaveLength(1);
      forced[0]?.(null);
      vi.advanceTimersByTime(50);
      expect(forced).toHaveLength(2);
      forced[1]?.(null);
      vi.advanceTimersByTime(1000);
      expect(forced).toHaveLength(2);
      journal.close();
    } finally {
      vi.useRealTimers();
    }
  });
});
