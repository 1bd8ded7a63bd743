import type { RequestView } from '@fleetgate/shared/api/operations';
import { NEVER, type Observable } from 'rxjs';

import { type Ledger, TERMINAL_STATES } from '../dispatch/ledger.js';

/** Hands every request that has ended to `ended`, once, and keeps none: a simulation has millions. */
export class CountingLedger implements Ledger {
  readonly changes$: Observable<RequestView> = NEVER;
  readonly #open = new Set<string>();
  readonly #ended: (record: RequestView) => void;

  constructor(ended: (record: RequestView) => void) {
    this.#ended = ended;
  }

  /** Requests that have been put and have not ended. */
  get open(): number {
    return this.#open.size;
  }

  put(record: RequestView): void {
    if (!TERMINAL_STATES.has(record.state)) {
      this.#open.add(record.id);
      return;
    }
    // What a lost device has cost comes after the end, with the same id.
    const isFirst = record.attempts.length === 0 || this.#open.delete(record.id);
    if (isFirst) this.#ended(record);
  }

  get(): Promise<RequestView | undefined> {
    return Promise.resolve(undefined);
  }

  list(): Promise<readonly RequestView[]> {
    return Promise.resolve([]);
  }

  closeUnfinished(): Promise<number> {
    return Promise.resolve(0);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
