import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the gate learns from use: observations, contexts of answers that may still be rated, and documents. */
export class LearningTables1764000008000 implements MigrationInterface {
  readonly name = 'LearningTables1764000008000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE evidence (
      id TEXT PRIMARY KEY NOT NULL,
      atMs INTEGER NOT NULL,
      source TEXT NOT NULL,
      document TEXT NOT NULL
    )`);
    await runner.query('CREATE INDEX evidence_source ON evidence (source, atMs)');
    await runner.query(`CREATE TABLE answer_context (
      requestId TEXT PRIMARY KEY NOT NULL,
      atMs INTEGER NOT NULL,
      document TEXT NOT NULL
    )`);
    await runner.query('CREATE INDEX answer_context_at ON answer_context (atMs)');
    await runner.query(`CREATE TABLE learning_state (
      name TEXT PRIMARY KEY NOT NULL,
      document TEXT NOT NULL
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE learning_state');
    await runner.query('DROP TABLE answer_context');
    await runner.query('DROP TABLE evidence');
  }
}
