import type { MigrationInterface, QueryRunner } from 'typeorm';

export class MadeVariantTable1764200005000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE made_variant (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      variant TEXT NOT NULL,
      path TEXT NOT NULL
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE made_variant');
  }
}

export class ExpertTables1764000002000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE added_expert (
      id TEXT PRIMARY KEY NOT NULL,
      expert TEXT NOT NULL,
      paths TEXT NOT NULL
    )`);
    await runner.query(`CREATE TABLE read_artefact (
      path TEXT PRIMARY KEY NOT NULL,
      sizeBytes INTEGER NOT NULL,
      changedMs REAL NOT NULL,
      sha256 TEXT NOT NULL,
      facts TEXT NOT NULL
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE read_artefact');
    await runner.query('DROP TABLE added_expert');
  }
}
