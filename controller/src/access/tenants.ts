import type { TenantLimits, TenantView } from '@fleetgate/shared/api/access';
import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { z } from 'zod';

import { nameField } from './access-names.js';
import type { KeyRing } from './key-ring.js';
import type { RateLimits } from './rate-limits.js';

/** Tenants with limits. */
export const MOST_TENANTS = 10_000;

const limit = (most: number) =>
  z.number('expected a number').int('expected a whole number').min(1, 'expected at least 1').max(most).nullable();
export const limitsSchema = z.strictObject({
  requestsPerMinute: limit(1e9),
  outputTokensPerMinute: limit(1e12),
});
const NO_LIMITS: TenantLimits = { requestsPerMinute: null, outputTokensPerMinute: null };

/** Where limits outlive the controller. */
export interface TenantStore {
  /** Null removes them. */
  putTenant(name: string, limits: TenantLimits | null): Promise<void>;
}

/** Limits by tenant. The single writer of their memory and store. */
export class Tenants {
  readonly #limits: Map<string, TenantLimits>;
  readonly #parts: { readonly store: TenantStore; readonly ring: KeyRing; readonly rates: RateLimits };

  constructor(
    parts: { readonly store: TenantStore; readonly ring: KeyRing; readonly rates: RateLimits },
    kept: ReadonlyMap<string, TenantLimits>,
  ) {
    this.#parts = parts;
    this.#limits = new Map(kept);
    for (const [name, limits] of kept) parts.rates.set(name, limits);
  }

  /** Takes up what was set at another controller. */
  reload(kept: ReadonlyMap<string, TenantLimits>): void {
    const gone = [...this.#limits.keys()].filter((name) => !kept.has(name));
    this.#limits.clear();
    for (const [name, limits] of kept) this.#limits.set(name, limits);
    for (const [name, limits] of kept) this.#parts.rates.set(name, limits);
    for (const name of gone) this.#parts.rates.set(name, NO_LIMITS);
  }

  /** Tenants that have limits or valid keys, by name. */
  views(): readonly TenantView[] {
    const keys = new Map<string, number>();
    for (const { tenant, state } of this.#parts.ring.views()) {
      if (tenant !== null && state === 'valid') keys.set(tenant, (keys.get(tenant) ?? 0) + 1);
    }
    const names = [...new Set([...this.#limits.keys(), ...keys.keys()])].toSorted();
    return names.map((name) => ({ name, ...this.limitsOf(name), keys: keys.get(name) ?? 0 }));
  }

  limitsOf(name: string): TenantLimits {
    return this.#limits.get(name) ?? NO_LIMITS;
  }

  /** Sets all limits of a tenant; they hold when it resolves. Throws `request.invalid`. */
  async set(name: string, body: unknown): Promise<TenantLimits> {
    const hint =
      'PUT /api/v1/tenants/{name} {"requestsPerMinute": 60, "outputTokensPerMinute": null}; null is no limit';
    const tenant = check(nameField, name, 'request.invalid', 'name', { hint });
    const limits = check(limitsSchema, body, 'request.invalid', 'limits', { hint });
    const isNone = limits.requestsPerMinute === null && limits.outputTokensPerMinute === null;
    if (!isNone && !this.#limits.has(tenant) && this.#limits.size >= MOST_TENANTS) {
      throw new FleetError('request.invalid', `${MOST_TENANTS} tenants have limits, which is the most`, {
        hint: 'take those away that nobody needs, with null for both',
      });
    }
    await this.#parts.store.putTenant(tenant, isNone ? null : limits);
    if (isNone) this.#limits.delete(tenant);
    else this.#limits.set(tenant, limits);
    this.#parts.rates.set(tenant, limits);
    return limits;
  }
}
