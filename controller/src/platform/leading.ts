import { messageOf } from '@fleetgate/shared/errors';
import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { BehaviorSubject, type Observable } from 'rxjs';

import type { Leadership } from './leadership.js';

/** After something could not be taken over. */
const RETRY = milliseconds(500);

/** Whether this controller may do what only one does, as its loops see it. */
export interface Leading {
  readonly now: () => boolean;
  /** Emits the present state on subscription, and every change. */
  readonly changes$: Observable<boolean>;
}

/** Of a controller that is the only one. */
export const ALWAYS: Leading = { now: () => true, changes$: new BehaviorSubject(true) };

export interface TakingOverParts {
  readonly leadership: Pick<Leadership, 'term$'>;
  /** Reads anew what is kept. Must be idempotent. */
  readonly takeOver: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Leads from when everything that its predecessor has written was taken over: until then its loops would go by what this
 * controller happened to know. Ends at once with its term.
 */
export class TakingOver implements Leading {
  readonly #state = new BehaviorSubject(false);
  readonly #parts: TakingOverParts;
  #term: number | undefined;
  #cancelRetry: () => void = () => {};
  readonly #stop: () => void;

  constructor(parts: TakingOverParts) {
    this.#parts = parts;
    const subscription = parts.leadership.term$.subscribe((term) => this.#onTerm(term));
    this.#stop = () => subscription.unsubscribe();
  }

  readonly now = (): boolean => this.#state.value;

  get changes$(): Observable<boolean> {
    return this.#state;
  }

  close(): void {
    this.#stop();
    this.#onTerm(undefined);
    this.#state.complete();
  }

  #onTerm(term: number | undefined): void {
    if (term === this.#term) return;
    this.#term = term;
    this.#cancelRetry();
    if (this.#state.value) this.#state.next(false);
    if (term !== undefined) void this.#takeOver(term);
  }

  /** Never rejects. */
  async #takeOver(term: number): Promise<void> {
    const { takeOver, clock, log } = this.#parts;
    try {
      await takeOver();
      if (this.#term !== term) return;
      log.info('leader.leads', { term });
      this.#state.next(true);
    } catch (error) {
      if (this.#term !== term) return;
      log.warn('leader.not-taken-over', { term, reason: messageOf(error), retryMs: RETRY });
      this.#cancelRetry = clock.after(RETRY, () => void this.#takeOver(term));
    }
  }
}
