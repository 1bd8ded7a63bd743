import { messageOf } from '@fleetgate/shared/errors';
import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

/**
 * What was opened, to be closed in the opposite order: at the end, or when opening the next thing fails. One that fails
 * or hangs does not keep the others open.
 */
export class Closers {
  readonly #steps: { readonly name: string; readonly close: () => unknown }[] = [];
  readonly #deadline: Milliseconds;
  readonly #clock: Clock;
  readonly #log: Logger;
  #closing: Promise<void> | undefined;

  constructor(deadline: Milliseconds, clock: Clock, log: Logger) {
    this.#deadline = deadline;
    this.#clock = clock;
    this.#log = log;
  }

  add(name: string, close: () => unknown): void {
    this.#steps.push({ name, close });
  }

  /** Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    for (const { name, close } of this.#steps.toReversed()) {
      try {
        await this.#within(name, close);
      } catch (error) {
        this.#log.warn('stop.failed', { part: name, reason: messageOf(error) });
      }
    }
  }

  async #within(name: string, close: () => unknown): Promise<void> {
    let cancel = (): void => {};
    const late = new Promise<never>((_resolve, reject) => {
      cancel = this.#clock.after(this.#deadline, () =>
        reject(new Error(`${name} did not stop in ${this.#deadline} ms`)),
      );
    });
    try {
      await Promise.race([close(), late]);
    } finally {
      cancel();
    }
  }
}
