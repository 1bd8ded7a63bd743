import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A result has the line that it answers in its key: no line is answered twice. */
export class BatchTables1764300001000 implements MigrationInterface {
  readonly name = 'BatchTables1764300001000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE batch (
      id TEXT PRIMARY KEY NOT NULL,
      createdAtMs INTEGER NOT NULL,
      open INTEGER NOT NULL,
      record TEXT NOT NULL
    )`);
    await runner.query(`CREATE TABLE batch_result (
      batchId TEXT NOT NULL,
      line INTEGER NOT NULL,
      isError INTEGER NOT NULL,
      text TEXT NOT NULL,
      PRIMARY KEY (batchId, line)
    ) WITHOUT ROWID`);
    await runner.query(`CREATE TABLE batch_file (
      id TEXT PRIMARY KEY NOT NULL,
      createdAtMs INTEGER NOT NULL,
      expiresAtMs INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      batchId TEXT,
      isError INTEGER,
      record TEXT NOT NULL
    )`);
    await runner.query(`CREATE TABLE batch_file_line (
      fileId TEXT NOT NULL,
      line INTEGER NOT NULL,
      text TEXT NOT NULL,
      PRIMARY KEY (fileId, line)
    ) WITHOUT ROWID`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['batch_file_line', 'batch_file', 'batch_result', 'batch']) {
      await runner.query(`DROP TABLE ${table}`);
    }
  }
}
