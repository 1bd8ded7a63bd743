import { type ReplicaId, replicaId } from '@fleetgate/shared/ids';
import { EntitySchema } from 'typeorm';

import type { Database, DatabaseSchema } from './database.js';
import type { ReplicaRegister, ReplicaRow } from './replica-register.js';
import { ReplicaTable1764500001000, ReplicaTold1764500005000 } from './replica-table.migration.js';

/** A row stays when its controller has gone: its number of incarnations is never given again. */
interface StoredReplica {
  name: string;
  incarnation: number;
  beats: number;
  present: boolean;
  told: string;
}

const replicaEntity = new EntitySchema<StoredReplica>({
  name: 'Replica',
  tableName: 'replica',
  columns: {
    name: { type: 'text', primary: true },
    incarnation: { type: 'integer' },
    beats: { type: 'integer' },
    present: { type: 'boolean' },
    told: { type: 'text', default: '' },
  },
});

export const replicaSchema: DatabaseSchema = {
  entities: [replicaEntity],
  migrations: [ReplicaTable1764500001000, ReplicaTold1764500005000],
};

/** The register in the control database. */
export class SqliteReplicaRegister implements ReplicaRegister {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  enter(name: ReplicaId): Promise<ReplicaRow> {
    return this.#database.write(async (manager) => {
      const known = await manager.findOneBy(replicaEntity, { name });
      const row = { name, incarnation: (known?.incarnation ?? 0) + 1, beats: 0, told: '' };
      await manager.upsert(replicaEntity, { ...row, present: true }, ['name']);
      return row;
    });
  }

  async beat({ name, incarnation }: ReplicaRow, told: string): Promise<boolean> {
    const { affected } = await this.#database.write((manager) =>
      manager.update(replicaEntity, { name, incarnation, present: true }, { beats: () => 'beats + 1', told }),
    );
    return affected !== 0;
  }

  async all(): Promise<readonly ReplicaRow[]> {
    const rows = await this.#database.source
      .getRepository(replicaEntity)
      .find({ where: { present: true }, order: { name: 'ASC' } });
    return rows.map(({ name, incarnation, beats, told }) => ({
      name: replicaId(name),
      incarnation,
      beats,
      told,
    }));
  }

  async strike({ name, incarnation, beats }: ReplicaRow): Promise<boolean> {
    const { affected } = await this.#database.write((manager) =>
      manager.update(replicaEntity, { name, incarnation, beats, present: true }, { present: false }),
    );
    return affected !== 0;
  }

  async leave({ name, incarnation }: ReplicaRow): Promise<void> {
    await this.#database.write((manager) => manager.update(replicaEntity, { name, incarnation }, { present: false }));
  }
}
