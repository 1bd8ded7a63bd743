import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { RequestId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Evidence } from './evidence.js';
import type { AnswerContext, LearningChanges, LearningState, LearningStore } from './learning-store.js';

/** A crash loses no more than this. */
const WRITE_DELAY = milliseconds(1000);
/** Answers that may wait for a disk that has stopped; the oldest can then not be rated. */
const MOST_WAITING = 5000;

/** Writes what is learned in batches, one at a time: what is put is found at once, and written soon. */
export class LearningWriter {
  readonly #store: LearningStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  #evidence = new Map<string, Evidence>();
  #dropped = new Set<string>();
  #contexts = new Map<RequestId, AnswerContext>();
  #states: Partial<Record<LearningState, unknown>> = {};
  /** Being written now; still to be found. */
  #writing: ReadonlyMap<RequestId, AnswerContext> = new Map();
  #turn: Promise<void> = Promise.resolve();
  #cancelTimer: (() => void) | undefined;

  constructor(store: LearningStore, clock: Clock, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  keepEvidence(one: Evidence): void {
    this.#dropped.delete(one.id);
    this.#evidence.set(one.id, one);
    this.#schedule();
  }

  dropEvidence(ids: readonly string[]): void {
    for (const id of ids) {
      this.#evidence.delete(id);
      this.#dropped.add(id);
    }
    this.#schedule();
  }

  keepContext(context: AnswerContext): void {
    this.#contexts.set(context.requestId, context);
    for (const oldest of this.#contexts.keys()) {
      if (this.#contexts.size <= MOST_WAITING) break;
      this.#contexts.delete(oldest);
    }
    this.#schedule();
  }

  keepState(name: LearningState, document: unknown): void {
    this.#states = { ...this.#states, [name]: document };
    this.#schedule();
  }

  async contextOf(requestId: RequestId): Promise<AnswerContext | undefined> {
    return this.#contexts.get(requestId) ?? this.#writing.get(requestId) ?? (await this.#store.contextOf(requestId));
  }

  /** Resolves when everything put so far is written, or could not be. */
  flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#turn = this.#turn.then(() => this.#write());
    return this.#turn;
  }

  #schedule(): void {
    this.#cancelTimer ??= this.#clock.after(WRITE_DELAY, () => void this.flush());
  }

  async #write(): Promise<void> {
    const changes: LearningChanges = {
      evidence: [...this.#evidence.values()],
      dropped: [...this.#dropped],
      contexts: [...this.#contexts.values()],
      states: this.#states,
    };
    const { evidence, dropped, contexts, states } = changes;
    if (evidence.length + dropped.length + contexts.length + Object.keys(states).length === 0) return;
    this.#writing = this.#contexts;
    this.#evidence = new Map();
    this.#dropped = new Set();
    this.#contexts = new Map();
    this.#states = {};
    try {
      await this.#store.save(changes);
    } catch (error) {
      this.#log.error('gate.learning-not-written', { observations: evidence.length, reason: messageOf(error) });
    } finally {
      this.#writing = new Map();
    }
  }
}
