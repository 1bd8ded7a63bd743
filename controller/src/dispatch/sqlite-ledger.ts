import type { RequestView } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject } from 'rxjs';
import { And, LessThan, MoreThanOrEqual } from 'typeorm';

import type { Database } from '../platform/database.js';
import { MOST_UPSERTED, upsertRows } from '../platform/sqlite-upsert.js';
import { endedByCrash, type Ledger } from './ledger.js';
import { type Journal, NO_JOURNAL } from '../platform/journal.js';
import { encodeRecord } from './record-codec.js';
import { recordOf, requestEntity, type RequestRow, rowOf } from './sqlite-request-row.js';

export interface LedgerSettings {
  /** How long a record may wait to be written into the database; until then the journal has it. */
  readonly writeDelay: Milliseconds;
  readonly maxRecords: number;
  readonly maxAge: Milliseconds;
  readonly expireEvery: Milliseconds;
}

export const LEDGER_DEFAULTS: LedgerSettings = Object.freeze({
  writeDelay: milliseconds(200),
  // A record of 27 candidates has 3.5 kB: about 70 MB.
  maxRecords: 20_000,
  maxAge: milliseconds(30 * 24 * 3600 * 1000),
  expireEvery: milliseconds(60_000),
});

/** What one of several experts was asked is told with the request that they answered. */
const OF_CLIENTS = MoreThanOrEqual('req-');

/** Records that may wait for a database that has stopped. */
const MAX_WAITING = 10_000;
/** Of them, for the ends of what is under way: then nothing new is taken. */
const ROOM_FOR_ENDS = 1_000;
const RETRY_DELAY = milliseconds(2000);

/**
 * The ledger in the control database. A record that changes twice within one batch is written once; the journal has every
 * state as soon as it is put.
 *
 * Of several controllers each writes the records that it owns. Those of one that is gone are ended by the one that leads, which
 * takes them from their owner: should that one only have stood still, what it still writes of them changes nothing.
 */
export class SqliteLedger implements Ledger {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #settings: LedgerSettings;
  readonly #journal: Journal;
  readonly #owner: () => string;
  readonly #changes = new Subject<RequestView>();
  /** Not yet written, newest state of each. */
  readonly #waiting = new Map<string, RequestRow>();
  /** Being written now; still to be found by `get`. */
  #writing = new Map<string, RequestRow>();
  #turn: Promise<boolean> | undefined;
  #cancelTimer: (() => void) | undefined;
  #dropped = 0;
  /** Batches in a row that could not be written. */
  #failures = 0;
  #closed = false;
  readonly #stopExpiry: () => void;

  constructor(parts: {
    readonly database: Database;
    readonly clock: Clock;
    readonly log: Logger;
    readonly settings?: LedgerSettings;
    /** Its left records are taken up by `closeUnfinished`. */
    readonly journal?: Journal;
    /** This controller, of several; it is another one after every start. */
    readonly owner?: () => string;
    /** Whether old records are removed here; absent: they are. */
    readonly leads?: () => boolean;
  }) {
    this.#database = parts.database;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#settings = parts.settings ?? LEDGER_DEFAULTS;
    this.#journal = parts.journal ?? NO_JOURNAL;
    this.#owner = parts.owner ?? (() => '');
    this.#stopExpiry = this.#clock.every(this.#settings.expireEvery, () => {
      if (parts.leads?.() === false) return;
      this.expire().catch((error: unknown) => this.#log.warn('ledger.not-expired', { reason: messageOf(error) }));
    });
  }

  get changes$(): Observable<RequestView> {
    return this.#changes;
  }

  /** Records that are not yet being written. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get hasRoom(): boolean {
    return this.#waiting.size < MAX_WAITING - ROOM_FOR_ENDS;
  }

  /** Records that were not kept because too many waited. */
  get dropped(): number {
    return this.#dropped;
  }

  put(record: RequestView): void {
    const row = rowOf(record, encodeRecord(record), this.#owner());
    this.#journal.append(row.record);
    if (!this.#waiting.has(record.id) && this.#waiting.size >= MAX_WAITING) {
      this.#dropped += 1;
      if (this.#dropped === 1) this.#log.error('ledger.full', { waiting: this.#waiting.size });
      return;
    }
    this.#waiting.set(record.id, row);
    this.#changes.next(record);
    if (this.#waiting.size >= MOST_UPSERTED) void this.flush();
    else this.#cancelTimer ??= this.#clock.after(this.#settings.writeDelay, () => void this.flush());
  }

  async get(id: RequestId): Promise<RequestView | undefined> {
    const unwritten = this.#waiting.get(id) ?? this.#writing.get(id);
    if (unwritten !== undefined) return recordOf(unwritten);
    const row = await this.#database.source.getRepository(requestEntity).findOneBy({ id });
    return row === null ? undefined : recordOf(row);
  }

  async list(query: {
    readonly limit: number;
    readonly before?: RequestId | undefined;
  }): Promise<readonly RequestView[]> {
    await this.flush();
    const rows = await this.#database.source.getRepository(requestEntity).find({
      where: { id: query.before === undefined ? OF_CLIENTS : And(OF_CLIENTS, LessThan(query.before)) },
      order: { id: 'DESC' },
      take: query.limit,
    });
    return rows.map(recordOf);
  }

  async closeUnfinished(at: UnixMs, error: { readonly code: string; readonly message: string }): Promise<number> {
    await this.#takeUpLeft();
    const rows = await this.#database.source.getRepository(requestEntity).findBy({ open: true, owner: this.#owner() });
    for (const row of rows) this.put(endedByCrash(recordOf(row), at, error));
    await this.flush();
    return rows.length;
  }

  /** Ends also where the database cannot be written now; what waits is then tried again later. */
  async flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let written = true;
    while (written && (this.#waiting.size > 0 || this.#turn !== undefined)) {
      this.#turn ??= this.#writeBatch().finally(() => {
        this.#turn = undefined;
      });
      written = await this.#turn;
    }
    if (!written && !this.#closed) this.#cancelTimer ??= this.#clock.after(RETRY_DELAY, () => void this.flush());
  }

  /** Removes what is older than the retention, and the oldest beyond its count. */
  async expire(): Promise<void> {
    const before = this.#clock.now() - this.#settings.maxAge;
    await this.#database.write(async (manager) => {
      await manager.delete(requestEntity, { receivedAtMs: LessThan(before) });
      const [first] = await manager.find(requestEntity, {
        select: { id: true },
        order: { id: 'DESC' },
        skip: this.#settings.maxRecords,
        take: 1,
      });
      if (first === undefined) return;
      await manager.delete(requestEntity, { id: LessThan(first.id) });
      await manager.delete(requestEntity, { id: first.id });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopExpiry();
    await this.flush();
    this.#journal.close();
    this.#changes.complete();
  }

  /** Writes what the journal has of an earlier process; no record goes back from an end. */
  async #takeUpLeft(): Promise<void> {
    const left = new Map<string, RequestRow>();
    for (const json of this.#journal.left) {
      const row = rowOf(JSON.parse(json) as RequestView, json, this.#owner());
      left.set(row.id, row);
    }
    if (left.size === 0) return;
    const requests = this.#database.source.getRepository(requestEntity);
    const rows: RequestRow[] = [];
    for (const row of left.values()) {
      if (!row.open || (await requests.findOneBy({ id: row.id, open: false })) === null) rows.push(row);
    }
    await this.#insert(rows);
    this.#journal.keepOnly([]);
    this.#log.info('ledger.taken-up', { records: rows.length });
  }

  /** Writes what waits, at most a batch; false where the database cannot be written now. */
  async #writeBatch(): Promise<boolean> {
    const batch = [...this.#waiting].slice(0, MOST_UPSERTED);
    for (const [id] of batch) this.#waiting.delete(id);
    this.#writing = new Map(batch);
    try {
      await this.#insert(batch.map(([, row]) => row));
      this.#failures = 0;
      // What found no room among the waiting is nowhere else.
      if (this.#dropped === 0) this.#journal.keepOnly(Array.from(this.#waiting.values(), ({ record }) => record));
      return true;
    } catch (error) {
      this.#failures += 1;
      const mayPass = isFleetError(error) && error.retryable;
      if (this.#failures === 1 || !mayPass) {
        this.#log.error('ledger.not-written', { records: batch.length, reason: messageOf(error) });
      }
      if (mayPass) for (const [id, row] of batch) if (!this.#waiting.has(id)) this.#waiting.set(id, row);
      return !mayPass;
    } finally {
      this.#writing = new Map();
    }
  }

  async #insert(rows: readonly RequestRow[]): Promise<void> {
    const columns = ['id', 'owner', 'receivedAtMs', 'open', 'record'];
    const values = rows.map(({ id, owner, receivedAtMs, open, record }) => [id, owner, receivedAtMs, open, record]);
    await this.#database.write((manager) => upsertRows(manager, 'request', columns, 'id', values, 'owner'));
  }
}
