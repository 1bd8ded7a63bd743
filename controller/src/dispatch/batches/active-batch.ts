import { after, type Milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import { type BatchRecord, inState } from './batch.js';
import { MOST_FAILURES, pauseAfter } from './batch-pace.js';
import type { FileLine, SqliteBatchStore } from './sqlite-batch-store.js';

/** Lines read ahead of what is sent. */
const READ_AHEAD = 16;
/** Lines that may wait to be sent again; beyond it no new one is begun. */
const MOST_WAITING = 64;

/** A line on its way, with what became of it before. */
export interface LineTry extends FileLine {
  readonly refusals: number;
  readonly failures: number;
}

/** What is known here of a batch that has not ended; the runner is its only writer. */
export class ActiveBatch {
  record: BatchRecord;
  /** A client has asked for it; the state follows in its turn. */
  isCancelled: boolean;
  /** Its window ended before its lines. */
  isOver = false;
  /** Lines under way, and how to stop them. */
  readonly underWay = new Map<number, AbortController>();
  readonly #store: SqliteBatchStore;
  #answered: ReadonlySet<number> | undefined;
  #read: FileLine[] = [];
  /** Line up to which the file has been read. */
  #at = 0;
  #waiting: { readonly line: LineTry; readonly due: UnixMs }[] = [];
  #refusals = 0;
  #pausedUntil: UnixMs | undefined;

  constructor(record: BatchRecord, store: SqliteBatchStore) {
    this.record = record;
    this.isCancelled = record.state === 'cancelling';
    this.#store = store;
  }

  /** Every line has been sent and answered. */
  get isDone(): boolean {
    const isRead = this.#answered !== undefined && this.#at >= this.record.lines && this.#read.length === 0;
    return isRead && this.#waiting.length === 0 && this.underWay.size === 0;
  }

  /** Keeps the record in its next state. */
  async enter(state: BatchRecord['state'], now: UnixMs, more: Partial<BatchRecord> = {}): Promise<void> {
    const record = { ...inState(this.record, state, now), ...more };
    await this.#store.putBatch(record);
    this.record = record;
  }

  /** The next line to send now: of those that were refused the longest ago, then of the file. */
  async next(now: UnixMs): Promise<LineTry | undefined> {
    if (this.#pausedUntil !== undefined && this.#pausedUntil > now) return undefined;
    const due = this.#waiting.find((one) => one.due <= now);
    if (due !== undefined) {
      this.#waiting = this.#waiting.filter((one) => one !== due);
      return due.line;
    }
    if (this.#waiting.length >= MOST_WAITING) return undefined;
    this.#answered ??= await this.#store.answered(this.record.id);
    while (this.#read.length === 0 && this.#at < this.record.lines) {
      const lines = await this.#store.lines(this.record.inputFileId, this.#at, READ_AHEAD);
      this.#at = lines.at(-1)?.line ?? this.record.lines;
      this.#read = lines.filter(({ line }) => this.#answered?.has(line) !== true);
    }
    const line = this.#read.shift();
    return line === undefined ? undefined : { ...line, refusals: 0, failures: 0 };
  }

  /** The fleet has no room: the batch rests, and the line comes again. */
  refused(line: LineTry, now: UnixMs, asked: Milliseconds | undefined): void {
    // Those sent together are refused together.
    if (this.#pausedUntil === undefined || this.#pausedUntil <= now) this.#refusals += 1;
    const refusals = line.refusals + 1;
    this.#pausedUntil = after(now, pauseAfter(this.#refusals, asked));
    this.#waiting.push({ line: { ...line, refusals }, due: after(now, pauseAfter(refusals, asked)) });
  }

  /** A device failed it; false where that has happened often enough. */
  failed(line: LineTry, now: UnixMs, asked: Milliseconds | undefined): boolean {
    const failures = line.failures + 1;
    if (failures >= MOST_FAILURES) return false;
    this.#waiting.push({ line: { ...line, failures }, due: after(now, pauseAfter(failures, asked)) });
    return true;
  }

  answered(): void {
    this.#refusals = 0;
    this.#pausedUntil = undefined;
  }

  /** Not sent after all, or not kept: it comes again. */
  putBack(line: LineTry, now: UnixMs): void {
    this.#waiting.push({ line, due: now });
  }
}
