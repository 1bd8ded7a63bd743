import { type MigrationInterface, type QueryRunner, Table, TableColumn } from 'typeorm';

/** The controllers that serve a fleet together. */
export class ReplicaTable1764500001000 implements MigrationInterface {
  readonly name = 'ReplicaTable1764500001000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'replica',
        columns: [
          { name: 'name', type: 'text', isPrimary: true },
          { name: 'incarnation', type: 'integer' },
          { name: 'beats', type: 'integer' },
          { name: 'present', type: 'boolean' },
        ],
      }),
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('replica');
  }
}

/** What controllers tell each other with their signs of life. */
export class ReplicaTold1764500005000 implements MigrationInterface {
  readonly name = 'ReplicaTold1764500005000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.addColumn('replica', new TableColumn({ name: 'told', type: 'text', default: "''" }));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('replica', 'told');
  }
}
