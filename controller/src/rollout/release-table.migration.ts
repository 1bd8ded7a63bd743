import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ReleaseTable1764500001000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "release" (
      "kind" TEXT NOT NULL,
      "name" TEXT NOT NULL,
      "sequence" INTEGER NOT NULL,
      "path" TEXT NOT NULL,
      "document" TEXT NOT NULL,
      PRIMARY KEY ("kind", "name", "sequence")
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE "release"');
  }
}
