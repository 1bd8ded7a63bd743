import type { MigrationInterface, QueryRunner } from 'typeorm';

export class FleetTables1764000001000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE device (
      id TEXT PRIMARY KEY NOT NULL,
      board TEXT NOT NULL,
      secretSha256 TEXT NOT NULL,
      enrolledAtMs INTEGER NOT NULL,
      presence TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lastSeenMs INTEGER,
      leaseExpiresMs INTEGER,
      desired TEXT,
      reported TEXT
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE device');
  }
}

export class EnrolmentNonce1764000006000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE device ADD COLUMN nonceSha256 TEXT');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE device DROP COLUMN nonceSha256');
  }
}

export class MosquittoDigest1764000007000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE device ADD COLUMN mosquittoDigest TEXT');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE device DROP COLUMN mosquittoDigest');
  }
}
