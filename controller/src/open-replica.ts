/** Makes this controller one of several that serve a fleet together, or the only one. */
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { RequestView } from '@fleetgate/shared/api/operations';
import type { ReplicaId } from '@fleetgate/shared/ids';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { closeOrphans } from './dispatch/sqlite-orphans.js';
import { releaseOrphans, SqliteSharedAnswers } from './dispatch/sqlite-shared-answers.js';
import type { SharedAnswers } from './dispatch/shared-answers.js';
import type { ControlDatabase } from './open-database.js';
import type { Demand, SeenDemand } from './planning/demand.js';
import { ALWAYS, type Leading, TakingOver } from './platform/leading.js';
import { alone, type Leadership } from './platform/leadership.js';
import type { Database } from './platform/database.js';
import type { PostgresDatabase } from './platform/postgres-database.js';
import { PostgresChanges } from './platform/postgres-changes.js';
import { PostgresLeadership } from './platform/postgres-leadership.js';
import { ReloadLoop } from './platform/reload-loop.js';
import { ownerOf, type ReplicaRow } from './platform/replica-register.js';
import { SilentReplicas } from './platform/silent-replicas.js';
import { SqliteReplicaRegister } from './platform/sqlite-replica-register.js';
import type { Surroundings } from './surroundings.js';

/** Signs of life, and looks for those of others. */
const BEAT = milliseconds(1_000);
/** A controller that gives no sign for so long is gone: who leads ends what it has left. */
const LEASE = milliseconds(5_000);
const GONE = { code: 'controller.crashed', message: 'the controller that had this request is gone' };

export interface OpenReplica {
  readonly leadership: Leadership;
  readonly leading: Leading;
  /** What requests and keys of this controller belong to; empty for the only one. */
  readonly owner: () => string;
  /** Undefined for the only one. */
  readonly answers: SharedAnswers | undefined;
  /** What is to be read anew when rows of `tables` may have changed, and before this controller leads. */
  readonly reloads: (tables: readonly string[], reload: () => Promise<void>) => void;
  /** Begins to lead, to hear, and to end what others have left. To be called when everything is there. */
  readonly start: (hooks: ReplicaHooks) => void;
}

export interface ReplicaHooks {
  /** Another has taken this one for gone and ended its requests. */
  readonly onStruck: (error: FleetError) => void;
  /** A request of a controller that is gone, as it was: its devices need not go on. */
  readonly onOrphan: (record: RequestView) => void;
  /** What the one that plans is to know of this one, and hears of the others. */
  readonly demand: Pick<Demand, 'seen' | 'setOthers'>;
}

export async function openReplica(
  surroundings: Surroundings,
  { database, server }: ControlDatabase,
): Promise<OpenReplica> {
  const { replica } = surroundings.config;
  if (replica !== undefined && server !== undefined)
    return openOneOfSeveral(surroundings, { database, server }, replica);
  return {
    leadership: alone(database),
    leading: ALWAYS,
    owner: () => '',
    answers: undefined,
    reloads: () => {},
    start: () => {},
  };
}

async function openOneOfSeveral(
  { clock, log, closers }: Surroundings,
  { database, server }: { readonly database: Database; readonly server: PostgresDatabase },
  replica: ReplicaId,
): Promise<OpenReplica> {
  const register = new SqliteReplicaRegister(database);
  let row = await register.enter(replica);
  closers.add('replica', () => register.leave(row));
  const leadership = new PostgresLeadership({ database: server, clock, log });
  closers.add('leadership', () => leadership.close());
  const reloads = new ReloadLoop(clock, log);
  closers.add('reloads', () => reloads.close());
  const leading = new TakingOver({ leadership, takeOver: () => reloads.everything(), clock, log });
  closers.add('leading', () => leading.close());
  const owner = (): string => ownerOf(row);
  return {
    leadership,
    leading,
    owner,
    answers: new SqliteSharedAnswers(database, owner),
    reloads: (tables, reload) => reloads.add(tables, reload),
    start: (hooks) => {
      const changes = new PostgresChanges({ database: server, clock, log });
      const heard = changes.changes$.subscribe((changed) => reloads.changed(changed));
      const keeping = keepPresent({ register, leading, leadership, clock, log }, hooks, {
        get: () => row,
        set: (entered) => (row = entered),
      });
      closers.add('shared changes', async () => {
        heard.unsubscribe();
        await changes.close();
      });
      closers.add('signs of life', keeping);
      leadership.start();
    },
  };
}

/** Gives signs of life and, while it leads, ends what those have left that give none. The result stops it. */
function keepPresent(
  parts: {
    readonly register: SqliteReplicaRegister;
    readonly leading: Leading;
    readonly leadership: Leadership;
  } & Pick<Surroundings, 'clock' | 'log'>,
  hooks: ReplicaHooks,
  row: { readonly get: () => ReplicaRow; readonly set: (entered: ReplicaRow) => void },
): () => Promise<void> {
  const { register, leading, clock, log } = parts;
  const silent = new SilentReplicas(LEASE);
  let turn = Promise.resolve();
  let isBusy = false;
  const beat = async (): Promise<void> => {
    if (!(await register.beat(row.get(), JSON.stringify(hooks.demand.seen(clock.now()))))) {
      log.warn('replica.struck', { owner: ownerOf(row.get()) });
      row.set(await register.enter(row.get().name));
      const message = 'this controller was silent for too long: another has ended its requests';
      hooks.onStruck(new FleetError('controller.crashed', message, { retryable: true }));
    }
    const others = (await register.all()).filter((one) => ownerOf(one) !== ownerOf(row.get()) && one.told !== '');
    hooks.demand.setOthers(others.map(({ told }) => JSON.parse(told) as SeenDemand));
    if (leading.now()) await endOrphans(parts, silent, hooks);
    else silent.forget();
  };
  const stop = clock.every(BEAT, () => {
    // A database that is slow is not asked by several turns at once.
    if (isBusy) return;
    isBusy = true;
    turn = beat()
      .catch((error: unknown) => log.warn('replica.not-kept', { reason: messageOf(error) }))
      .finally(() => {
        isBusy = false;
      });
  });
  return async () => {
    stop();
    await turn;
  };
}

async function endOrphans(
  { register, leadership, clock, log }: Parameters<typeof keepPresent>[0],
  silent: SilentReplicas,
  { onOrphan }: ReplicaHooks,
): Promise<void> {
  for (const gone of silent.look(await register.all(), clock.now())) {
    if (await register.strike(gone)) log.warn('replica.gone', { owner: ownerOf(gone) });
  }
  const owners = (await register.all()).map(ownerOf);
  const write = leadership.write.bind(leadership);
  const orphans = await closeOrphans(owners, clock.now(), GONE, write);
  await releaseOrphans(owners, clock.now(), write);
  for (const record of orphans) onOrphan(record);
  if (orphans.length > 0) log.warn('request.ended-by-crash', { requests: orphans.length });
}
