import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { elapsed, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';
import { BehaviorSubject } from 'rxjs';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';

import type { DatabaseSchema } from './database.js';
import { LeaderTable1764500003000 } from './leader-table.migration.js';
import type { Leadership } from './leadership.js';
import type { PostgresDatabase } from './postgres-database.js';

export const leaderSchema: DatabaseSchema = { entities: [], migrations: [LeaderTable1764500003000] };

/** Key of the advisory lock. */
const LOCK = 7_331_002;
/** Who does not lead asks as often, and who leads says as often that it goes on. */
const PERIOD = milliseconds(250);
/** One that holds the lock and says nothing for so long stands still; its connection is ended. */
const LONGEST_SILENCE = milliseconds(3_000);
/** Of one statement on the connection of the lock: a server that does not answer by then has not got us any more. */
const DEADLINE = milliseconds(2_000);

/**
 * Leads by an advisory lock of the server, on a connection of its own: a controller that is killed loses it with its connection, at
 * once. One that stands still keeps both; the others see that it has said nothing, by their own clocks, and end its connection.
 *
 * Terms are numbered in a row of a table. What is written under a term holds that row, so that the next term begins after it:
 * who takes over reads everything that its predecessor has written, and nothing comes after it.
 */
export class PostgresLeadership implements Leadership {
  readonly term$ = new BehaviorSubject<number | undefined>(undefined);
  readonly #parts: PostgresLeadershipParts;
  #source: DataSource | undefined;
  #runner: QueryRunner | undefined;
  #seen: { readonly term: number; readonly beats: number; readonly since: UnixMs } | undefined;
  #cancel: () => void = () => {};
  #turn: Promise<void> = Promise.resolve();
  /** Told once. */
  #isFailing = false;
  #closed = false;

  constructor(parts: PostgresLeadershipParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#turn = this.#next();
  }

  async write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const term = this.term$.value;
    return this.#parts.database.write(async (manager) => {
      const rows: readonly unknown[] =
        term === undefined
          ? []
          : await manager.query('SELECT 1 FROM leader WHERE id = 1 AND term = $1 FOR SHARE', [term]);
      if (rows.length === 0) {
        throw new FleetError('leader.fenced', 'another controller leads by now', { retryable: true });
      }
      return work(manager);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancel();
    await this.#turn;
    await this.#letGo();
    this.term$.complete();
  }

  /** Never rejects. */
  async #next(): Promise<void> {
    const { clock, log } = this.#parts;
    try {
      this.#runner ??= await this.#connect();
      if (this.term$.value === undefined) await this.#ask(this.#runner);
      else await this.#goOn(this.#runner, this.term$.value);
      this.#isFailing = false;
    } catch (error) {
      const reason = messageOf(error);
      if (this.term$.value !== undefined) log.warn('leader.lost', { term: this.term$.value, reason });
      else if (!this.#isFailing) log.warn('leader.not-asked', { reason });
      this.#isFailing = true;
      await this.#letGo();
    }
    if (this.#closed) return;
    this.#cancel = clock.after(PERIOD, () => {
      this.#turn = this.#next();
    });
  }

  async #connect(): Promise<QueryRunner> {
    this.#source = await this.#parts.database.connect(1);
    const runner = this.#source.createQueryRunner();
    // A line that is cut without a word is noticed by the server too, and the lock is free.
    for (const setting of ['tcp_keepalives_idle = 2', 'tcp_keepalives_interval = 1', 'tcp_keepalives_count = 3']) {
      await runner.query(`SET ${setting}`);
    }
    await runner.query(`SET statement_timeout = ${DEADLINE}`);
    return runner;
  }

  async #ask(runner: QueryRunner): Promise<void> {
    const [answer]: { readonly has: boolean }[] = await this.#within(
      runner.query(`SELECT pg_try_advisory_lock(${LOCK}) AS has`),
    );
    if (answer?.has !== true) return this.#watch(runner);
    const [row]: { readonly term: number }[] = await this.#within(
      runner.query(
        `WITH next AS (UPDATE leader SET term = term + 1, backend = pg_backend_pid(), beats = 0 WHERE id = 1 RETURNING term)
         SELECT term FROM next`,
      ),
    );
    if (row === undefined) throw new FleetError('internal.invariant', 'the leader has no row');
    this.#seen = undefined;
    this.#parts.log.info('leader.elected', { term: row.term });
    this.term$.next(row.term);
  }

  async #goOn(runner: QueryRunner, term: number): Promise<void> {
    const rows: readonly unknown[] = await this.#within(
      runner.query(
        `WITH beat AS (UPDATE leader SET beats = beats + 1 WHERE id = 1 AND term = $1 RETURNING term) SELECT term FROM beat`,
        [term],
      ),
    );
    if (rows.length === 0) throw new FleetError('leader.fenced', 'another controller leads by now');
  }

  /** Looks whether the one that leads still says something. */
  async #watch(runner: QueryRunner): Promise<void> {
    const { clock, log } = this.#parts;
    const [row]: { readonly term: number; readonly beats: number; readonly backend: number }[] = await this.#within(
      runner.query('SELECT term, beats, backend FROM leader WHERE id = 1'),
    );
    if (row === undefined) return;
    const now = clock.now();
    const isSame = this.#seen?.term === row.term && this.#seen.beats === row.beats;
    if (!isSame || this.#seen === undefined) {
      this.#seen = { term: row.term, beats: row.beats, since: now };
      return;
    }
    if (elapsed(this.#seen.since, now) < LONGEST_SILENCE) return;
    log.warn('leader.silent', { term: row.term, silentMs: elapsed(this.#seen.since, now) });
    this.#seen = undefined;
    // Only the connection that holds the lock: its number may be another one's by now.
    await this.#within(
      runner.query(
        `SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND objid = ${LOCK} AND granted AND pid = $1 AND pid <> pg_backend_pid()`,
        [row.backend],
      ),
    );
  }

  /** Rejects where the server does not answer in time. */
  async #within<T>(work: Promise<T>): Promise<T> {
    let cancel = (): void => {};
    const late = new Promise<never>((_resolve, reject) => {
      cancel = this.#parts.clock.after(DEADLINE, () =>
        reject(
          new FleetError('store.unavailable', `the database did not answer in ${DEADLINE} ms`, { retryable: true }),
        ),
      );
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }

  /** Never rejects. The lock goes with the connection. */
  async #letGo(): Promise<void> {
    const source = this.#source;
    const runner = this.#runner;
    this.#source = undefined;
    this.#runner = undefined;
    if (this.term$.value !== undefined) this.term$.next(undefined);
    await runner?.release().catch(() => {});
    await source?.destroy().catch(() => {});
  }
}

export interface PostgresLeadershipParts {
  readonly database: Pick<PostgresDatabase, 'write' | 'connect'>;
  readonly clock: Clock;
  readonly log: Logger;
}
