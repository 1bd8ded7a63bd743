import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keys by the digest of their text, limits of tenants, and what was changed by whom. */
export class AccessTables1764400000000 implements MigrationInterface {
  readonly name = 'AccessTables1764400000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE access_key (
      id TEXT PRIMARY KEY NOT NULL,
      label TEXT NOT NULL,
      tenant TEXT,
      scopes TEXT NOT NULL,
      sha256 TEXT NOT NULL,
      createdAtMs INTEGER NOT NULL,
      expiresAtMs INTEGER,
      revokedAtMs INTEGER,
      lastUsedAtMs INTEGER
    )`);
    await runner.query(`CREATE TABLE tenant_limit (
      name TEXT PRIMARY KEY NOT NULL,
      requestsPerMinute INTEGER,
      outputTokensPerMinute INTEGER
    )`);
    // Numbers are never used again: they are the cursor of the list.
    await runner.query(`CREATE TABLE audit (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      atMs INTEGER NOT NULL,
      outcome TEXT NOT NULL,
      document TEXT NOT NULL
    )`);
    await runner.query('CREATE INDEX audit_outcome ON audit (outcome, id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['audit', 'tenant_limit', 'access_key']) await runner.query(`DROP TABLE ${table}`);
  }
}
