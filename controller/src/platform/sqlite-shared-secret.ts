import { FleetError } from '@fleetgate/shared/errors';
import { EntitySchema } from 'typeorm';

import type { Database, DatabaseSchema } from './database.js';
import { SecretTable1764500004000 } from './secret-table.migration.js';

const secretEntity = new EntitySchema<{ name: string; value: string }>({
  name: 'SharedSecret',
  tableName: 'shared_secret',
  columns: { name: { type: 'text', primary: true }, value: { type: 'text' } },
});

export const secretSchema: DatabaseSchema = { entities: [secretEntity], migrations: [SecretTable1764500004000] };

/** The secret of this name; made by `make` where there is none. Of controllers that start at once, all get that of the first. */
export async function sharedSecret(
  database: Database,
  name: string,
  make: () => Promise<string> | string,
): Promise<string> {
  const known = await database.source.getRepository(secretEntity).findOneBy({ name });
  if (known !== null) return known.value;
  const value = await make();
  return database.write(async (manager) => {
    await manager.createQueryBuilder().insert().into(secretEntity).values({ name, value }).orIgnore().execute();
    const kept = await manager.findOneBy(secretEntity, { name });
    if (kept === null) throw new FleetError('internal.invariant', `the secret ${name} was not kept`);
    return kept.value;
  });
}
