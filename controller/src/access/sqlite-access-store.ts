import { type Scope, SCOPES, type TenantLimits } from '@fleetgate/shared/api/access';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import type { Database, DatabaseSchema } from '../platform/database.js';
import { AccessTables1764400000000 } from './access-tables.migration.js';
import type { AccessKey } from './access-key.js';
import type { KeyStore } from './key-ring.js';
import type { TenantStore } from './tenants.js';

export const accessSchema: DatabaseSchema = { entities: [], migrations: [AccessTables1764400000000] };

interface KeyRow {
  readonly id: string;
  readonly label: string;
  readonly tenant: string | null;
  readonly scopes: string;
  readonly sha256: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
  readonly lastUsedAtMs: number | null;
}

/** Keys and limits in the control database. */
export class SqliteAccessStore implements KeyStore, TenantStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** In the order in which they were made. */
  async loadKeys(): Promise<{ readonly keys: readonly AccessKey[]; readonly uses: ReadonlyMap<string, UnixMs> }> {
    const rows: readonly KeyRow[] = await this.#database.source.query('SELECT * FROM access_key ORDER BY rowid');
    const uses = rows.flatMap(({ id, lastUsedAtMs }) =>
      lastUsedAtMs === null ? [] : [[id, unixMs(lastUsedAtMs)] as const],
    );
    return { keys: rows.map(keyOf), uses: new Map(uses) };
  }

  async addKey({ id, label, tenant, scopes, digest, createdAt, expiresAt, revokedAt }: AccessKey): Promise<void> {
    const values = [id, label, tenant ?? null, [...scopes].join(' '), digest.toString('hex')];
    const times = [createdAt, expiresAt ?? null, revokedAt ?? null];
    await this.#write(
      `INSERT INTO access_key (id, label, tenant, scopes, sha256, createdAtMs, expiresAtMs, revokedAtMs)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      [...values, ...times],
    );
  }

  async revokeKey(id: string, at: UnixMs): Promise<void> {
    await this.#write('UPDATE access_key SET revokedAtMs = ? WHERE id = ?', [at, id]);
  }

  async removeKey(id: string): Promise<void> {
    await this.#write('DELETE FROM access_key WHERE id = ?', [id]);
  }

  async saveUses(uses: ReadonlyMap<string, UnixMs>): Promise<void> {
    await this.#database.write(async (manager) => {
      for (const [id, at] of uses) {
        await manager.query('UPDATE access_key SET lastUsedAtMs = ? WHERE id = ?', [at, id]);
      }
    });
  }

  async loadTenants(): Promise<ReadonlyMap<string, TenantLimits>> {
    const rows: readonly (TenantLimits & { readonly name: string })[] =
      await this.#database.source.query('SELECT * FROM tenant_limit');
    return new Map(
      rows.map(({ name, requestsPerMinute, outputTokensPerMinute }) => [
        name,
        { requestsPerMinute, outputTokensPerMinute },
      ]),
    );
  }

  async putTenant(name: string, limits: TenantLimits | null): Promise<void> {
    if (limits === null) return this.#write('DELETE FROM tenant_limit WHERE name = ?', [name]);
    await this.#write(
      `INSERT INTO tenant_limit (name, requestsPerMinute, outputTokensPerMinute) VALUES (?, ?, ?) ON CONFLICT (name)
         DO UPDATE SET requestsPerMinute = excluded.requestsPerMinute, outputTokensPerMinute = excluded.outputTokensPerMinute`,
      [name, limits.requestsPerMinute, limits.outputTokensPerMinute],
    );
  }

  async #write(sql: string, values: readonly unknown[]): Promise<void> {
    await this.#database.write((manager) => manager.query(sql, [...values]));
  }
}

function keyOf(row: KeyRow): AccessKey {
  const scopes = row.scopes.split(' ');
  return {
    id: row.id,
    label: row.label,
    tenant: row.tenant ?? undefined,
    scopes: new Set<Scope>(SCOPES.filter((scope) => scopes.includes(scope))),
    digest: Buffer.from(row.sha256, 'hex'),
    createdAt: unixMs(row.createdAtMs),
    expiresAt: row.expiresAtMs === null ? undefined : unixMs(row.expiresAtMs),
    revokedAt: row.revokedAtMs === null ? undefined : unixMs(row.revokedAtMs),
  };
}
