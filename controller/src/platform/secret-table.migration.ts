import { type MigrationInterface, type QueryRunner, Table } from 'typeorm';

/** Secrets that several controllers of a fleet share. */
export class SecretTable1764500004000 implements MigrationInterface {
  readonly name = 'SecretTable1764500004000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'shared_secret',
        columns: [
          { name: 'name', type: 'text', isPrimary: true },
          { name: 'value', type: 'text' },
        ],
      }),
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('shared_secret');
  }
}
