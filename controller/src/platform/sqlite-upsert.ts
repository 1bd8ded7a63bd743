import type { EntityManager } from 'typeorm';

/** Rows of one statement: within the 999 parameters that every SQLite takes, and no long wait for others. */
export const MOST_UPSERTED = 190;

/**
 * Inserts rows, or replaces those of the same `key` (a column of `columns`); those that differ in the column `same` are left
 * as they are. Names are our own; values are in their order.
 *
 * In words of its own, where a table is written with every request: TypeORM's builder takes as long for a row as writing it.
 */
export async function upsertRows(
  manager: EntityManager,
  table: string,
  columns: readonly string[],
  key: string,
  rows: readonly (readonly unknown[])[],
  same?: string,
): Promise<void> {
  const names = columns.map((name) => `"${name}"`).join(',');
  const replaced = columns.filter((name) => name !== key).map((name) => `"${name}" = excluded."${name}"`);
  const condition = same === undefined ? '' : ` WHERE "${table}"."${same}" = excluded."${same}"`;
  const places = `(${columns.map(() => '?').join(',')})`;
  for (let at = 0; at < rows.length; at += MOST_UPSERTED) {
    const batch = rows.slice(at, at + MOST_UPSERTED);
    await manager.query(
      `INSERT INTO "${table}" (${names}) VALUES ${batch.map(() => places).join(',')}
         ON CONFLICT ("${key}") DO UPDATE SET ${replaced.join(', ')}${condition}`,
      batch.flat(),
    );
  }
}
