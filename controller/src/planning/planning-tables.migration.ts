import type { MigrationInterface, QueryRunner } from 'typeorm';

export class PlanningTables1764000002000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE plan (
      id TEXT PRIMARY KEY NOT NULL,
      state TEXT NOT NULL,
      createdAtMs INTEGER NOT NULL,
      activatedAtMs INTEGER,
      trigger TEXT NOT NULL,
      verified INTEGER NOT NULL,
      document TEXT NOT NULL
    )`);
    await runner.query('CREATE INDEX plan_created ON plan (createdAtMs)');
    await runner.query(`CREATE TABLE budget (
      id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
      document TEXT NOT NULL
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE budget');
    await runner.query('DROP TABLE plan');
  }
}
