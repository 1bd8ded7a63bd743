import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { type Milliseconds, milliseconds, type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import type { Leading } from '../../platform/leading.js';
import { ActiveBatch, type LineTry } from './active-batch.js';
import { type BatchRecord, ENDED_STATES, KEPT_FOR } from './batch.js';
import { faultsOf } from './batch-check.js';
import { answeredLine, isFault, type LineAnswer, readLine, unansweredLine } from './batch-line.js';
import type { SqliteBatchStore } from './sqlite-batch-store.js';

const TURN_EVERY = milliseconds(1000);
const EXPIRE_EVERY = milliseconds(60_000);

/** What became of a line. */
export interface LineOutcome {
  readonly answer: LineAnswer;
  /** Where sending it again may succeed: whether it was not even sent, and when to try. */
  readonly again?: { readonly wasRefused: boolean; readonly in: Milliseconds | undefined };
}

export interface BatchRunnerParts {
  readonly store: SqliteBatchStore;
  /** Answers a request of a batch as its endpoint would. Never rejects. */
  readonly answer: (batch: BatchRecord, body: object, signal: AbortSignal) => Promise<LineOutcome>;
  /** Lines that the fleet has room for now, besides those under way. */
  readonly room: (linesUnderWay: number) => number;
  /** Of several controllers, the one that leads answers batches; absent: this is the only one. */
  readonly leading?: Leading;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Answers batches in the background: line by line, the batches in turn, when the fleet has nothing else to do.
 *
 * Everything that matters is in the store: after a restart it goes on with the lines that have no answer. One that was
 * under way when the controller was killed is sent again, and answered once.
 */
export class BatchRunner {
  readonly #parts: BatchRunnerParts;
  readonly #batches = new Map<string, ActiveBatch>();
  readonly #lines = new Set<Promise<void>>();
  readonly #stops: (() => void)[] = [];
  #turn: Promise<void> | undefined;
  #expiry: Promise<void> | undefined;
  #isAsked = false;
  #closed = false;

  constructor(parts: BatchRunnerParts) {
    this.#parts = parts;
  }

  /** Takes up what had not ended. */
  async start(): Promise<void> {
    const { clock, leading } = this.#parts;
    if (leading === undefined) await this.#takeUp();
    this.#stops.push(clock.every(TURN_EVERY, () => this.#wake()));
    this.#stops.push(clock.every(EXPIRE_EVERY, () => this.#expire()));
    this.#wake();
  }

  /** Begins a batch that is in the store. */
  begin(record: BatchRecord): void {
    if (this.#leads) this.#batches.set(record.id, new ActiveBatch(record, this.#parts.store));
    this.#wake();
  }

  /**
   * Begins no more lines and stops those under way; resolves when that is in the store, with `cancelling` or the state that
   * the batch had ended in. Throws `store.unavailable`.
   */
  async cancel(record: BatchRecord): Promise<BatchRecord> {
    const batch = this.#batches.get(record.id);
    if (batch === undefined) return this.#leads ? record : this.#askToCancel(record);
    batch.isCancelled = true;
    for (const abort of batch.underWay.values()) abort.abort();
    this.#wake();
    await this.#turn;
    const { state } = batch.record;
    if (state === 'cancelling' || ENDED_STATES.has(state)) return batch.record;
    throw new FleetError('store.unavailable', 'the batch could not be cancelled now', { retryable: true });
  }

  /** The one that leads reads of it at its next turn. */
  async #askToCancel(record: BatchRecord): Promise<BatchRecord> {
    const { store, clock } = this.#parts;
    const batch = new ActiveBatch(record, store);
    if (!ENDED_STATES.has(record.state) && record.state !== 'cancelling') await batch.enter('cancelling', clock.now());
    return batch.record;
  }

  get #leads(): boolean {
    return this.#parts.leading?.now() !== false;
  }

  /** Those that have not ended, also such as were begun or cancelled at another controller. */
  async #takeUp(): Promise<void> {
    const { store } = this.#parts;
    for (const record of await store.open()) {
      const known = this.#batches.get(record.id);
      if (known === undefined) this.#batches.set(record.id, new ActiveBatch(record, store));
      else if (record.state === 'cancelling' && !known.isCancelled) {
        known.isCancelled = true;
        for (const abort of known.underWay.values()) abort.abort();
      }
    }
  }

  /** Another leads by now, and sends again what was under way. */
  #giveUp(): void {
    for (const { underWay } of this.#batches.values()) for (const abort of underWay.values()) abort.abort();
    this.#batches.clear();
  }

  /** Stops; what is under way is sent again after the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    for (const { underWay } of this.#batches.values()) for (const abort of underWay.values()) abort.abort();
    await Promise.all([this.#turn, this.#expiry, ...this.#lines]);
  }

  /** One turn at a time; asked for during one, another follows. */
  #wake(): void {
    if (this.#closed) return;
    this.#isAsked = true;
    this.#turn ??= this.#takeTurns().finally(() => {
      this.#turn = undefined;
    });
  }

  async #takeTurns(): Promise<void> {
    while (this.#isAsked && !this.#closed) {
      this.#isAsked = false;
      if (!this.#leads) {
        this.#giveUp();
        return;
      }
      try {
        if (this.#parts.leading !== undefined) await this.#takeUp();
        for (const batch of [...this.#batches.values()]) await this.#advance(batch);
        await this.#startLines();
      } catch (error) {
        // The next tick tries again.
        this.#parts.log.warn('batch.not-advanced', { reason: messageOf(error) });
      }
    }
  }

  /** Moves a batch on where it does not wait for lines. */
  async #advance(batch: ActiveBatch): Promise<void> {
    const { clock, log, store } = this.#parts;
    const { state, expiresAt, id } = batch.record;
    const now = clock.now();
    if (state === 'validating' && !batch.isCancelled) {
      const faults = await faultsOf(batch.record, store);
      await batch.enter(faults.length === 0 ? 'in_progress' : 'failed', clock.now(), { faults });
    } else if (batch.isCancelled && state !== 'cancelling' && state !== 'finalizing') {
      await batch.enter('cancelling', now);
      this.#isAsked = true;
    } else if (state === 'cancelling') {
      if (batch.underWay.size === 0) await batch.enter('cancelled', now);
    } else if (state === 'finalizing') {
      await batch.enter('completed', now);
    } else if (batch.isOver || (expiresAt <= now && !batch.isDone)) {
      batch.isOver = true;
      for (const abort of batch.underWay.values()) abort.abort();
      if (batch.underWay.size > 0) return;
      await this.#answerTheRest(batch.record);
      await batch.enter('expired', now);
    } else if (batch.isDone) {
      await batch.enter('finalizing', now);
      this.#isAsked = true;
    }
    if (!ENDED_STATES.has(batch.record.state)) return;
    this.#batches.delete(id);
    log.info('batch.ended', { batchId: id, state: batch.record.state, lines: batch.record.lines });
  }

  /** Says of every line that has no answer that there was no time for it. */
  async #answerTheRest(record: BatchRecord): Promise<void> {
    const { store } = this.#parts;
    const answered = await store.answered(record.id);
    const error = { code: 'batch_expired', message: 'the completion window was over before this line was sent' };
    for (let at = 0; at < record.lines;) {
      const lines = await store.lines(record.inputFileId, at, 100);
      for (const { line, text } of lines) {
        if (answered.has(line)) continue;
        const read = readLine(text, line, record.endpoint);
        if (!isFault(read))
          await store.addResult(record.id, line, true, unansweredLine(record, line, read.customId, error));
      }
      at = lines.at(-1)?.line ?? record.lines;
    }
  }

  /** A line of each batch in turn, until there is no room or nothing to send. */
  async #startLines(): Promise<void> {
    for (let isIdle = false; !isIdle;) {
      isIdle = true;
      for (const batch of [...this.#batches.values()]) {
        if (batch.record.state !== 'in_progress' || batch.isCancelled) continue;
        if (this.#closed || this.#parts.room(this.#lines.size) <= 0) return;
        const line = await batch.next(this.#parts.clock.now());
        if (line === undefined) continue;
        isIdle = false;
        this.#startLine(batch, line);
      }
    }
    // The last line may have been answered long ago, before a restart.
    if ([...this.#batches.values()].some(({ isDone }) => isDone)) this.#isAsked = true;
  }

  #startLine(batch: ActiveBatch, line: LineTry): void {
    const now = this.#parts.clock.now();
    // While the line was looked for, the batch may have been cancelled or clients may have come.
    if (batch.isCancelled || this.#closed || this.#parts.room(this.#lines.size) <= 0) {
      batch.putBack(line, now);
      return;
    }
    const abort = new AbortController();
    batch.underWay.set(line.line, abort);
    const work = this.#answerLine(batch, line, abort.signal).finally(() => {
      batch.underWay.delete(line.line);
      this.#lines.delete(work);
      this.#wake();
    });
    this.#lines.add(work);
  }

  /** Never rejects. */
  async #answerLine(batch: ActiveBatch, line: LineTry, signal: AbortSignal): Promise<void> {
    const { answer, clock, log, store } = this.#parts;
    const { record } = batch;
    const read = readLine(line.text, line.line, record.endpoint);
    if (isFault(read)) return;
    const outcome = await answer(record, read.body, signal);
    const isError = outcome.answer.status !== 200;
    // Stopped here: by a cancel, by the end of the window, or to be sent again after a restart.
    if (signal.aborted && isError) return;
    const now = clock.now();
    if (outcome.again !== undefined && this.#mayAgain(batch, line, outcome.again, now)) return;
    batch.answered();
    try {
      await store.addResult(
        record.id,
        line.line,
        isError,
        answeredLine(record, line.line, read.customId, outcome.answer),
      );
    } catch (error) {
      log.warn('batch.not-kept', { batchId: record.id, line: line.line, reason: messageOf(error) });
      batch.putBack(line, clock.now());
    }
  }

  #mayAgain(batch: ActiveBatch, line: LineTry, again: NonNullable<LineOutcome['again']>, now: UnixMs): boolean {
    if (!again.wasRefused) return batch.failed(line, now, again.in);
    batch.refused(line, now, again.in);
    return true;
  }

  #expire(): void {
    const { clock, log, store } = this.#parts;
    if (!this.#leads) return;
    const now = clock.now();
    this.#expiry ??= store
      .expire(now, unixMs(now - KEPT_FOR))
      .catch((error: unknown) => log.warn('batch.not-expired', { reason: messageOf(error) }))
      .finally(() => {
        this.#expiry = undefined;
      });
  }
}
