import type { MigrationInterface, QueryRunner } from 'typeorm';

export class RolloutTable1764500000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "rollout" (
      "id" TEXT PRIMARY KEY NOT NULL,
      "createdAtMs" BIGINT NOT NULL,
      "state" TEXT NOT NULL,
      "document" TEXT NOT NULL
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE "rollout"');
  }
}
