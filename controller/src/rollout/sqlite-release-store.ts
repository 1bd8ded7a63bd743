import { signedReleaseSchema } from '@fleetgate/shared/catalogue/release';
import { EntitySchema } from 'typeorm';

import type { Database, DatabaseSchema } from '../platform/database.js';
import type { KeptRelease, ReleaseStore } from './release-book.js';
import { ReleaseTable1764500001000 } from './release-table.migration.js';

interface ReleaseRow {
  kind: string;
  name: string;
  sequence: number;
  path: string;
  document: string;
}

const releaseEntity = new EntitySchema<ReleaseRow>({
  name: 'Release',
  tableName: 'release',
  columns: {
    kind: { type: 'text', primary: true },
    name: { type: 'text', primary: true },
    sequence: { type: 'integer', primary: true },
    path: { type: 'text' },
    document: { type: 'text' },
  },
});

export const releaseSchema: DatabaseSchema = {
  entities: [releaseEntity],
  migrations: [ReleaseTable1764500001000],
};

/** Releases in the control database; their content is in files. */
export class SqliteReleaseStore implements ReleaseStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** What an earlier release of Fleetgate has written and this one cannot read is left out. */
  async load(): Promise<readonly KeptRelease[]> {
    const rows = await this.#database.source.getRepository(releaseEntity).find();
    return rows.flatMap(({ document, path }) => {
      const release = signedReleaseSchema.safeParse(JSON.parse(document));
      return release.success ? [{ release: release.data, path }] : [];
    });
  }

  async add({ release, path }: KeptRelease): Promise<void> {
    const { kind, name, sequence } = release.manifest;
    const row = { kind, name, sequence, path, document: JSON.stringify(release) };
    await this.#database.write((manager) => manager.insert(releaseEntity, row));
  }
}
