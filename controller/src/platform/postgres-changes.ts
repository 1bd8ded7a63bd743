import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { Subject } from 'rxjs';
import type { DataSource } from 'typeorm';

import type { PostgresDatabase } from './postgres-database.js';
import { ANYTHING, type Changed, type SharedChanges } from './shared-changes.js';

const CHANNEL = 'fleetgate_changes';
/** Where a connection is silent without being lost, changes are found as often. */
const POLL = milliseconds(15_000);
const RETRY = milliseconds(1_000);

/** Tables that controllers keep in memory, and of which columns they have to hear. */
const WATCHED: Readonly<Record<string, string>> = {
  device: 'INSERT OR DELETE OR UPDATE OF "secretSha256"',
  plan: 'INSERT OR UPDATE',
  budget: 'INSERT OR UPDATE',
  rollout: 'INSERT OR DELETE OR UPDATE',
  access_key: 'INSERT OR DELETE OR UPDATE OF "revokedAtMs"',
  tenant_limit: 'INSERT OR DELETE OR UPDATE',
  join_token: 'INSERT OR DELETE OR UPDATE',
  waiting_device: 'INSERT OR DELETE OR UPDATE',
};

/** Has the server tell of changes of the watched tables, whoever makes them. Idempotent. */
export async function watchTables(source: DataSource): Promise<void> {
  const present: readonly { readonly name: string }[] = await source.query(
    'SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()',
  );
  const names = new Set(present.map(({ name }) => name));
  await source.query(`CREATE OR REPLACE FUNCTION fleetgate_changed() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('${CHANNEL}', TG_TABLE_NAME); RETURN NULL; END $$`);
  for (const [table, when] of Object.entries(WATCHED)) {
    if (!names.has(table)) continue;
    await source.query(`CREATE OR REPLACE TRIGGER fleetgate_changed AFTER ${when} ON ${table}
      FOR EACH STATEMENT EXECUTE FUNCTION fleetgate_changed()`);
  }
}

/** What is asked of the driver's own connection. */
interface Listener {
  on(event: 'notification', listener: (message: { readonly payload?: string }) => void): void;
  on(event: 'error' | 'end', listener: () => void): void;
}

/**
 * By LISTEN on a connection of its own. Nothing is lost for good: after a connection was lost, and every quarter of a minute, anything
 * may have changed.
 */
export class PostgresChanges implements SharedChanges {
  readonly changes$ = new Subject<Changed>();
  readonly #parts: {
    readonly database: Pick<PostgresDatabase, 'connect'>;
    readonly clock: Clock;
    readonly log: Logger;
  };
  readonly #stopPoll: () => void;
  #source: DataSource | undefined;
  #cancelRetry: () => void = () => {};
  #connecting: Promise<void>;
  #closed = false;

  constructor(parts: {
    readonly database: Pick<PostgresDatabase, 'connect'>;
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#parts = parts;
    this.#stopPoll = parts.clock.every(POLL, () => this.changes$.next(ANYTHING));
    this.#connecting = this.#connect();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopPoll();
    this.#cancelRetry();
    await this.#connecting;
    await this.#letGo();
    this.changes$.complete();
  }

  /** Never rejects. */
  async #connect(): Promise<void> {
    try {
      const source = await this.#parts.database.connect(1);
      this.#source = source;
      const runner = source.createQueryRunner();
      const listener = (await runner.connect()) as Listener;
      listener.on('notification', ({ payload }) => this.changes$.next(payload ?? ANYTHING));
      listener.on('error', () => this.#again());
      listener.on('end', () => this.#again());
      await runner.query(`LISTEN ${CHANNEL}`);
      this.changes$.next(ANYTHING);
    } catch (error) {
      this.#parts.log.warn('changes.not-heard', { reason: messageOf(error), retryMs: RETRY });
      this.#again();
    }
  }

  #again(): void {
    if (this.#closed) return;
    this.#cancelRetry();
    this.#cancelRetry = this.#parts.clock.after(RETRY, () => {
      this.#connecting = this.#letGo().then(() => this.#connect());
    });
  }

  async #letGo(): Promise<void> {
    const source = this.#source;
    this.#source = undefined;
    await source?.destroy().catch(() => {});
  }
}
