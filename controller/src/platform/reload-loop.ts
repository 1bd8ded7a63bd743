import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { ANYTHING, type Changed } from './shared-changes.js';

/** Changes that come together are answered by one reading. */
const GATHER = milliseconds(20);
const RETRY = milliseconds(1_000);

interface Reload {
  readonly tables: ReadonlySet<string>;
  readonly read: () => Promise<void>;
  isDue: boolean;
}

/**
 * Reads anew what others may have changed, one thing at a time. Level-triggered: how often something changed makes no difference, and
 * what could not be read is read again.
 */
export class ReloadLoop {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #reloads: Reload[] = [];
  #turn: Promise<void> = Promise.resolve();
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Reloads go in the order in which they were added. */
  add(tables: readonly string[], read: () => Promise<void>): void {
    this.#reloads.push({ tables: new Set(tables), read, isDue: false });
  }

  /** A table, or anything, may have changed. */
  changed(table: Changed): void {
    for (const reload of this.#reloads) if (table === ANYTHING || reload.tables.has(table)) reload.isDue = true;
    this.#soon(GATHER);
  }

  /** Reads everything anew; rejects with the first that could not be read. */
  async everything(): Promise<void> {
    for (const reload of this.#reloads) reload.isDue = true;
    const turn = this.#turn.then(() => this.#read());
    this.#turn = turn.catch(() => {});
    await turn;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#turn;
  }

  #soon(delay: typeof GATHER): void {
    if (this.#closed || this.#cancel !== undefined) return;
    this.#cancel = this.#clock.after(delay, () => {
      this.#cancel = undefined;
      this.#turn = this.#turn
        .then(() => this.#read())
        .catch((error: unknown) => {
          this.#log.warn('reload.failed', { reason: messageOf(error), retryMs: RETRY });
          this.#soon(RETRY);
        });
    });
  }

  async #read(): Promise<void> {
    for (const reload of this.#reloads) {
      if (!reload.isDue || this.#closed) continue;
      // Before it is read: what changes meanwhile is read again.
      reload.isDue = false;
      try {
        await reload.read();
      } catch (error) {
        reload.isDue = true;
        throw error;
      }
    }
  }
}
