import { type MigrationInterface, type QueryRunner, Table } from 'typeorm';

/** The present term: one row. */
export class LeaderTable1764500003000 implements MigrationInterface {
  readonly name = 'LeaderTable1764500003000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'leader',
        columns: [
          { name: 'id', type: 'integer', isPrimary: true },
          { name: 'term', type: 'bigint' },
          // Of the connection that holds the lock, and how often it has said that its controller goes on.
          { name: 'backend', type: 'integer' },
          { name: 'beats', type: 'bigint' },
        ],
      }),
    );
    await runner.query('INSERT INTO leader (id, term, backend, beats) VALUES (1, 0, 0, 0)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('leader');
  }
}
