import { type MigrationInterface, type QueryRunner, Table, TableIndex } from 'typeorm';

/** Answers by the keys of their requests. */
export class SharedAnswers1764500002000 implements MigrationInterface {
  readonly name = 'SharedAnswers1764500002000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'shared_answer',
        columns: [
          { name: 'keySha256', type: 'text', isPrimary: true },
          { name: 'digest', type: 'text' },
          { name: 'owner', type: 'text' },
          { name: 'claim', type: 'text' },
          { name: 'answer', type: 'text', isNullable: true },
          { name: 'untilMs', type: 'bigint', isNullable: true },
        ],
      }),
    );
    await runner.createIndex(
      'shared_answer',
      new TableIndex({ name: 'shared_answer_until', columnNames: ['untilMs'] }),
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('shared_answer');
  }
}
