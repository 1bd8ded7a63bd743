import { FleetError } from '@fleetgate/shared/errors';
import { after as later, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Database, DatabaseSchema } from '../../platform/database.js';
import {
  type BatchCounts,
  type BatchRecord,
  ENDED_STATES,
  type FileRecord,
  KEPT_FOR,
  MOST_OPEN,
  MOST_STORED_BYTES,
} from './batch.js';
import { BatchTables1764300001000 } from './batch-tables.migration.js';

export const batchSchema: DatabaseSchema = { entities: [], migrations: [BatchTables1764300001000] };

/** Rows of one statement: SQLite takes 32,766 values. */
const ROWS_AT_ONCE = 500;

export interface FileLine {
  /** From 1. */
  readonly line: number;
  readonly text: string;
}

/** Whose files and batches are looked for. */
export interface Viewer {
  readonly seesAll: boolean;
  readonly tenant: string | undefined;
}

interface RecordRow {
  readonly record: string;
}

interface Source {
  readonly batchId: string | null;
  readonly isError: number | null;
}

/** Batches, their results, and files of lines, in the control database. */
export class SqliteBatchStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Throws `store.unavailable` where files take all the room that they may. */
  async addFile(file: FileRecord, lines: readonly string[]): Promise<void> {
    await this.#database.write(async (manager) => {
      const [stored] = await manager.query<{ bytes: number }[]>(
        'SELECT CAST(COALESCE(SUM(bytes), 0) AS INTEGER) AS bytes FROM batch_file',
      );
      if ((stored?.bytes ?? 0) + file.bytes > MOST_STORED_BYTES) {
        throw new FleetError('store.unavailable', `files take more than ${MOST_STORED_BYTES} bytes together`, {
          hint: 'delete files that are not needed any more: DELETE /v1/files/{id}',
        });
      }
      await manager.query(INSERT_FILE, fileRow(file, { batchId: null, isError: null }));
      for (let at = 0; at < lines.length; at += ROWS_AT_ONCE) {
        const rows = lines.slice(at, at + ROWS_AT_ONCE);
        const places = rows.map(() => '(?, ?, ?)').join(', ');
        const values = rows.flatMap((text, i) => [file.id, at + i + 1, text]);
        await manager.query(`INSERT INTO batch_file_line (fileId, line, text) VALUES ${places}`, values);
      }
    });
  }

  async file(id: string): Promise<FileRecord | undefined> {
    return (await this.#records<FileRecord>('SELECT record FROM batch_file WHERE id = ?', [id]))[0];
  }

  /** Newest first. */
  async files(limit: number, of: Viewer, after?: string): Promise<readonly FileRecord[]> {
    return this.#page('batch_file', limit, of, after);
  }

  /** All lines of a file. */
  async content(id: string): Promise<string> {
    const [source] = await this.#query<Source>('SELECT batchId, isError FROM batch_file WHERE id = ?', [id]);
    const rows =
      source?.batchId == null
        ? await this.#query<{ text: string }>('SELECT text FROM batch_file_line WHERE fileId = ? ORDER BY line', [id])
        : await this.#query<{ text: string }>(
            'SELECT text FROM batch_result WHERE batchId = ? AND isError = ? ORDER BY line',
            [source.batchId, source.isError],
          );
    return rows.map(({ text }) => `${text}\n`).join('');
  }

  /** Lines of an input file after the line `after`, in order. */
  async lines(fileId: string, after: number, limit: number): Promise<readonly FileLine[]> {
    const sql = 'SELECT line, text FROM batch_file_line WHERE fileId = ? AND line > ? ORDER BY line LIMIT ?';
    return this.#query<FileLine>(sql, [fileId, after, limit]);
  }

  /** With its lines, be they of a client or of a batch. */
  async deleteFile(id: string): Promise<void> {
    await this.#database.write(async (manager) => {
      const [source] = await manager.query<Source[]>('SELECT batchId, isError FROM batch_file WHERE id = ?', [id]);
      await manager.query('DELETE FROM batch_file WHERE id = ?', [id]);
      await manager.query('DELETE FROM batch_file_line WHERE fileId = ?', [id]);
      if (source?.batchId == null) return;
      // The row stays: it counts.
      const sql = "UPDATE batch_result SET text = '' WHERE batchId = ? AND isError = ?";
      await manager.query(sql, [source.batchId, source.isError]);
    });
  }

  /** Throws `job.queue-full` where too many have not ended. */
  async addBatch(record: BatchRecord): Promise<void> {
    await this.#database.write(async (manager) => {
      const [open] = await manager.query<{ count: number }[]>('SELECT COUNT(*) AS count FROM batch WHERE open = 1');
      if ((open?.count ?? 0) >= MOST_OPEN) {
        throw new FleetError('job.queue-full', `${MOST_OPEN} batches have not ended, which is the limit`, {
          retryable: true,
        });
      }
      await manager.query('INSERT INTO batch (id, createdAtMs, open, record) VALUES (?, ?, 1, ?)', [
        record.id,
        record.createdAt,
        JSON.stringify(record),
      ]);
    });
  }

  /** Replaces the record; one that has ended gets its files in the same transaction. */
  async putBatch(record: BatchRecord): Promise<void> {
    const isOpen = !ENDED_STATES.has(record.state);
    await this.#database.write(async (manager) => {
      for (const isError of isOpen ? [] : [0, 1]) {
        const sql =
          'SELECT COUNT(*) AS lines, CAST(COALESCE(SUM(OCTET_LENGTH(text) + 1), 0) AS INTEGER) AS bytes FROM batch_result';
        const [sum] = await manager.query<{ lines: number; bytes: number }[]>(
          `${sql} WHERE batchId = ? AND isError = ?`,
          [record.id, isError],
        );
        if (sum === undefined || sum.lines === 0) continue;
        const id = isError === 1 ? record.errorFileId : record.outputFileId;
        const name = `${record.id}_${isError === 1 ? 'error' : 'output'}.jsonl`;
        const createdAt = record.at[record.state] ?? record.createdAt;
        // What a batch holds goes with it.
        const file: FileRecord = {
          id,
          tenant: record.tenant,
          purpose: 'batch_output',
          name,
          ...sum,
          createdAt,
          expiresAt: later(record.createdAt, KEPT_FOR),
        };
        await manager.query(INSERT_FILE, fileRow(file, { batchId: record.id, isError }));
      }
      // Last: reads of others see a transaction on its way, and a batch that has ended has its files.
      const values = [isOpen ? 1 : 0, JSON.stringify(record), record.id];
      await manager.query('UPDATE batch SET open = ?, record = ? WHERE id = ?', values);
    });
  }

  async batch(id: string): Promise<BatchRecord | undefined> {
    return (await this.#records<BatchRecord>('SELECT record FROM batch WHERE id = ?', [id]))[0];
  }

  /** Newest first. */
  async batches(limit: number, of: Viewer, after?: string): Promise<readonly BatchRecord[]> {
    return this.#page('batch', limit, of, after);
  }

  /** Those that have not ended, oldest first. */
  async open(): Promise<readonly BatchRecord[]> {
    return this.#records('SELECT record FROM batch WHERE open = 1 ORDER BY id', []);
  }

  /** Keeps the answer of a line, unless it has one. */
  async addResult(batchId: string, line: number, isError: boolean, text: string): Promise<void> {
    await this.#database.write((manager) =>
      manager.query('INSERT OR IGNORE INTO batch_result (batchId, line, isError, text) VALUES (?, ?, ?, ?)', [
        batchId,
        line,
        isError ? 1 : 0,
        text,
      ]),
    );
  }

  /** Lines that have an answer. */
  async answered(batchId: string): Promise<ReadonlySet<number>> {
    const rows = await this.#query<{ line: number }>('SELECT line FROM batch_result WHERE batchId = ?', [batchId]);
    return new Set(rows.map(({ line }) => line));
  }

  async counts(batchId: string): Promise<BatchCounts> {
    const rows = await this.#query<{ isError: number; count: number }>(
      'SELECT isError, COUNT(*) AS count FROM batch_result WHERE batchId = ? GROUP BY isError',
      [batchId],
    );
    const of = (wanted: number): number => rows.find(({ isError }) => isError === wanted)?.count ?? 0;
    return { succeeded: of(0), failed: of(1) };
  }

  /** Removes files that are due, and batches that ended and are as old, with all that they hold. */
  async expire(now: UnixMs, before: UnixMs): Promise<void> {
    await this.#database.write(async (manager) => {
      const old = 'SELECT id FROM batch WHERE open = 0 AND createdAtMs < ?';
      await manager.query(`DELETE FROM batch_file WHERE batchId IN (${old})`, [before]);
      await manager.query(`DELETE FROM batch_result WHERE batchId IN (${old})`, [before]);
      await manager.query('DELETE FROM batch WHERE open = 0 AND createdAtMs < ?', [before]);
      // Of a batch that still runs, the input stays.
      const due = `SELECT id FROM batch_file WHERE batchId IS NULL AND expiresAtMs <= ?
        AND id NOT IN (SELECT json_extract(record, '$.inputFileId') FROM batch WHERE open = 1)`;
      await manager.query(`DELETE FROM batch_file_line WHERE fileId IN (${due})`, [now]);
      await manager.query(`DELETE FROM batch_file WHERE id IN (${due})`, [now]);
    });
  }

  async #page<T>(
    table: 'batch' | 'batch_file',
    limit: number,
    { seesAll, tenant }: Viewer,
    after: string | undefined,
  ): Promise<readonly T[]> {
    const conditions = [
      ...(seesAll ? [] : [["json_extract(record, '$.tenant') IS NOT DISTINCT FROM ?", tenant ?? null] as const]),
      ...(after === undefined ? [] : [['id < ?', after] as const]),
    ];
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.map(([sql]) => sql).join(' AND ')}`;
    const sql = `SELECT record FROM ${table} ${where} ORDER BY id DESC LIMIT ?`;
    return this.#records(sql, [...conditions.map(([, value]) => value), limit]);
  }

  async #records<T>(sql: string, values: readonly unknown[]): Promise<readonly T[]> {
    const rows = await this.#query<RecordRow>(sql, values);
    return rows.map(({ record }) => JSON.parse(record) as T);
  }

  async #query<Row>(sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
    return this.#database.source.query<Row[]>(sql, [...values]);
  }
}

const INSERT_FILE =
  'INSERT INTO batch_file (id, createdAtMs, expiresAtMs, bytes, batchId, isError, record) VALUES (?, ?, ?, ?, ?, ?, ?)';

function fileRow(file: FileRecord, { batchId, isError }: Source): unknown[] {
  return [file.id, file.createdAt, file.expiresAt, file.bytes, batchId, isError, JSON.stringify(file)];
}
