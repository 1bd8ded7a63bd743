import { expertSchema, modelFactsSchema, variantSchema } from '@fleetgate/shared/catalogue/expert';
import { type VariantId, variantIdSchema } from '@fleetgate/shared/ids';
import { EntitySchema } from 'typeorm';
import { z } from 'zod';

import type { Database, DatabaseSchema } from '../platform/database.js';
import type { MadeVariant, RegisteredExpert } from './expert-registry.js';
import type { ExpertStore, ReadArtefact } from './expert-store.js';
import { ExpertTables1764000002000, MadeVariantTable1764200005000 } from './expert-tables.migration.js';

interface AddedExpertRow {
  id: string;
  expert: string;
  paths: string;
}

interface MadeVariantRow {
  number: number;
  id: string;
  variant: string;
  path: string;
}

interface ReadArtefactRow {
  path: string;
  sizeBytes: number;
  changedMs: number;
  sha256: string;
  facts: string;
}

const addedExpertEntity = new EntitySchema<AddedExpertRow>({
  name: 'AddedExpert',
  tableName: 'added_expert',
  columns: { id: { type: 'text', primary: true }, expert: { type: 'text' }, paths: { type: 'text' } },
});

const madeVariantEntity = new EntitySchema<MadeVariantRow>({
  name: 'MadeVariant',
  tableName: 'made_variant',
  columns: {
    number: { type: 'integer', primary: true, generated: true },
    id: { type: 'text', unique: true },
    variant: { type: 'text' },
    path: { type: 'text' },
  },
});

const readArtefactEntity = new EntitySchema<ReadArtefactRow>({
  name: 'ReadArtefact',
  tableName: 'read_artefact',
  columns: {
    path: { type: 'text', primary: true },
    sizeBytes: { type: 'integer' },
    changedMs: { type: 'real' },
    sha256: { type: 'text' },
    facts: { type: 'text' },
  },
});

export const expertSchemaOfDatabase: DatabaseSchema = {
  entities: [addedExpertEntity, readArtefactEntity, madeVariantEntity],
  migrations: [ExpertTables1764000002000, MadeVariantTable1764200005000],
};

const pathsSchema = z.array(z.tuple([variantIdSchema, z.string()]));

/** Added experts in the control database. */
export class SqliteExpertStore implements ExpertStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async added(): Promise<readonly RegisteredExpert[]> {
    const rows = await this.#database.source.getRepository(addedExpertEntity).find({ order: { id: 'ASC' } });
    return rows.map((row) => ({
      expert: expertSchema.parse(JSON.parse(row.expert)),
      paths: new Map(pathsSchema.parse(JSON.parse(row.paths))),
    }));
  }

  async keep({ expert, paths }: RegisteredExpert): Promise<void> {
    const row = { id: expert.id, expert: JSON.stringify(expert), paths: JSON.stringify([...paths]) };
    await this.#database.write((manager) => manager.upsert(addedExpertEntity, row, ['id']));
  }

  async made(): Promise<readonly MadeVariant[]> {
    const rows = await this.#database.source.getRepository(madeVariantEntity).find({ order: { number: 'ASC' } });
    return rows.map(({ variant, path }) => ({ variant: variantSchema.parse(JSON.parse(variant)), path }));
  }

  async keepMade({ variant, path }: MadeVariant): Promise<void> {
    const row = { id: variant.id, variant: JSON.stringify(variant), path };
    await this.#database.write((manager) => manager.upsert(madeVariantEntity, row, ['id']));
  }

  async dropMade(id: VariantId): Promise<void> {
    await this.#database.write((manager) => manager.delete(madeVariantEntity, { id }));
  }

  async artefact(path: string): Promise<ReadArtefact | undefined> {
    const row = await this.#database.source.getRepository(readArtefactEntity).findOneBy({ path });
    if (row === null) return undefined;
    // Facts of an earlier release may lack what is asked of them now: the file is read again.
    const facts = modelFactsSchema.safeParse(JSON.parse(row.facts));
    if (facts.data?.tokenizer === undefined || facts.data.slabsBytes === undefined) return undefined;
    return { ...row, facts: facts.data };
  }

  async rememberArtefact(artefact: ReadArtefact): Promise<void> {
    const row = { ...artefact, facts: JSON.stringify(artefact.facts) };
    await this.#database.write((manager) => manager.upsert(readArtefactEntity, row, ['path']));
  }
}
