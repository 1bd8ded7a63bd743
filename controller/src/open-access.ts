/** Puts together who may do what: keys, limits of tenants and the audit log, in the control database. */
import { messageOf } from '@fleetgate/shared/errors';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { KeyRing } from './access/key-ring.js';
import { RateLimits } from './access/rate-limits.js';
import { SqliteAccessStore } from './access/sqlite-access-store.js';
import { SqliteAuditLog } from './access/sqlite-audit-log.js';
import { Tenants } from './access/tenants.js';
import { endedRequest } from './dispatch/admit-prompts.js';
import type { Ledger } from './dispatch/ledger.js';
import type { OpenReplica } from './open-replica.js';
import type { Database } from './platform/database.js';
import type { Surroundings } from './surroundings.js';

/** A crash forgets when keys were used within this time. */
const SAVE_PERIOD = milliseconds(60_000);

export interface OpenAccess {
  readonly keys: KeyRing;
  readonly tenants: Tenants;
  readonly rates: RateLimits;
  readonly audit: SqliteAuditLog;
}

export async function openAccess(
  { clock, random, log, closers }: Surroundings,
  database: Database,
  ledger: Ledger,
  reloads: OpenReplica['reloads'],
): Promise<OpenAccess> {
  const store = new SqliteAccessStore(database);
  const keys = new KeyRing({ store, clock, random }, await store.loadKeys());
  const rates = new RateLimits(clock);
  const tenants = new Tenants({ store, ring: keys, rates }, await store.loadTenants());
  reloads(['access_key'], async () => keys.reload(await store.loadKeys()));
  reloads(['tenant_limit'], async () => tenants.reload(await store.loadTenants()));
  const ended = ledger.changes$.subscribe((record) => {
    const request = endedRequest(record);
    if (request !== undefined) rates.ended(request);
  });
  const save = (): Promise<void> =>
    keys.saveUses().catch((error: unknown) => log.warn('keys.uses-not-saved', { reason: messageOf(error) }));
  let saving = Promise.resolve();
  const stop = clock.every(SAVE_PERIOD, () => {
    saving = saving.then(save);
  });
  closers.add('access', async () => {
    stop();
    ended.unsubscribe();
    await saving;
    await save();
  });
  return { keys, tenants, rates, audit: new SqliteAuditLog(database) };
}
