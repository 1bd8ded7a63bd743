import { EntitySchema } from 'typeorm';

import type { Database, DatabaseSchema } from '../platform/database.js';
import { upsertRows } from '../platform/sqlite-upsert.js';
import { isUnderWay, type RolloutRecord, rolloutRecordSchema } from './rollout-record.js';
import type { RolloutStore } from './rollout-store.js';
import { RolloutTable1764500000000 } from './rollout-table.migration.js';

/** Ended rollouts that are kept, besides those that were adopted: they hold on. */
const KEPT = 200;

interface RolloutRow {
  id: string;
  createdAtMs: number;
  state: string;
  document: string;
}

const rolloutEntity = new EntitySchema<RolloutRow>({
  name: 'Rollout',
  tableName: 'rollout',
  columns: {
    id: { type: 'text', primary: true },
    createdAtMs: { type: 'bigint' },
    state: { type: 'text' },
    document: { type: 'text' },
  },
});

export const rolloutSchema: DatabaseSchema = {
  entities: [rolloutEntity],
  migrations: [RolloutTable1764500000000],
};

/** Rollouts in the control database. */
export class SqliteRolloutStore implements RolloutStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** What an earlier release has written and this one cannot read is left out. */
  async load(): Promise<readonly RolloutRecord[]> {
    const rows = await this.#database.source
      .getRepository(rolloutEntity)
      .find({ order: { createdAtMs: 'DESC', id: 'DESC' } });
    return rows.flatMap(({ document }) => rolloutRecordSchema.safeParse(JSON.parse(document)).data ?? []);
  }

  async save(records: readonly RolloutRecord[]): Promise<void> {
    await this.#database.write(async (manager) => {
      const rows = records.map((record) => [record.id, record.createdAtMs, record.state, JSON.stringify(record)]);
      await upsertRows(manager, 'rollout', ['id', 'createdAtMs', 'state', 'document'], 'id', rows);
      if (records.every(isUnderWay)) return;
      await manager.query(`DELETE FROM "rollout" WHERE "state" IN ('rolled-back', 'aborted') AND "id" NOT IN (
        SELECT "id" FROM "rollout" ORDER BY "createdAtMs" DESC LIMIT ${KEPT})`);
    });
  }
}
