import type { MigrationInterface, QueryRunner } from 'typeorm';

export class JoinTokens1764000021000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE join_token (
      id TEXT PRIMARY KEY NOT NULL,
      secretSha256 TEXT NOT NULL,
      createdAtMs INTEGER NOT NULL,
      expiresAtMs INTEGER NOT NULL,
      usesLeft INTEGER NOT NULL
    )`);
    await runner.query(`CREATE TABLE waiting_device (
      name TEXT PRIMARY KEY NOT NULL,
      board TEXT NOT NULL,
      nonceSha256 TEXT NOT NULL,
      keySha256 TEXT,
      address TEXT NOT NULL,
      askedAtMs INTEGER NOT NULL,
      verdict TEXT NOT NULL
    )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE waiting_device');
    await runner.query('DROP TABLE join_token');
  }
}
