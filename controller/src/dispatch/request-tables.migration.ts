import { type MigrationInterface, type QueryRunner, Table, TableColumn, TableIndex } from 'typeorm';

/** The ledger's table: what is searched by in columns, the record itself as JSON. */
export class RequestTables1764000005000 implements MigrationInterface {
  readonly name = 'RequestTables1764000005000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'request',
        columns: [
          { name: 'id', type: 'text', isPrimary: true },
          { name: 'receivedAtMs', type: 'bigint' },
          { name: 'open', type: 'boolean' },
          { name: 'record', type: 'text' },
        ],
      }),
    );
    await runner.createIndex('request', new TableIndex({ name: 'request_received', columnNames: ['receivedAtMs'] }));
    await runner.createIndex('request', new TableIndex({ name: 'request_open', columnNames: ['open'] }));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('request');
  }
}

/** Which of several controllers answers for a request. */
export class RequestOwner1764500000000 implements MigrationInterface {
  readonly name = 'RequestOwner1764500000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.addColumn('request', new TableColumn({ name: 'owner', type: 'text', default: "''" }));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumn('request', 'owner');
  }
}
