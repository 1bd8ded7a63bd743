import type { MigrationInterface, QueryRunner } from 'typeorm';

/** One row a device, metric and minute. The key's order makes one device's curve one range of the table. */
export class RollupTable1790000000000 implements MigrationInterface {
  readonly name = 'RollupTable1790000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE rollup (
      device_id TEXT NOT NULL, metric TEXT NOT NULL, start_ms INTEGER NOT NULL,
      n INTEGER NOT NULL, sum REAL NOT NULL, min REAL NOT NULL, max REAL NOT NULL,
      PRIMARY KEY (device_id, metric, start_ms)
    ) WITHOUT ROWID`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE rollup');
  }
}
