import type { TenantLimits } from '@fleetgate/shared/api/access';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { AccessKey } from './access-key.js';
import type { KeyStore } from './key-ring.js';
import type { TenantStore } from './tenants.js';

/** Keys and limits in memory; passes the same suite as the database. */
export class MemoryKeyStore implements KeyStore, TenantStore {
  readonly #keys = new Map<string, AccessKey>();
  readonly #uses = new Map<string, UnixMs>();
  readonly #tenants = new Map<string, TenantLimits>();
  /** What the next calls throw; undefined: they succeed. */
  failure: Error | undefined;

  async loadKeys(): Promise<{ readonly keys: readonly AccessKey[]; readonly uses: ReadonlyMap<string, UnixMs> }> {
    return { keys: [...this.#keys.values()], uses: new Map(this.#uses) };
  }

  async addKey(key: AccessKey): Promise<void> {
    this.#check();
    this.#keys.set(key.id, key);
  }

  async revokeKey(id: string, at: UnixMs): Promise<void> {
    this.#check();
    const key = this.#keys.get(id);
    if (key !== undefined) this.#keys.set(id, { ...key, revokedAt: at });
  }

  async removeKey(id: string): Promise<void> {
    this.#check();
    this.#keys.delete(id);
    this.#uses.delete(id);
  }

  async saveUses(uses: ReadonlyMap<string, UnixMs>): Promise<void> {
    this.#check();
    for (const [id, at] of uses) if (this.#keys.has(id)) this.#uses.set(id, at);
  }

  async loadTenants(): Promise<ReadonlyMap<string, TenantLimits>> {
    return new Map(this.#tenants);
  }

  async putTenant(name: string, limits: TenantLimits | null): Promise<void> {
    this.#check();
    if (limits === null) this.#tenants.delete(name);
    else this.#tenants.set(name, limits);
  }

  #check(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}
