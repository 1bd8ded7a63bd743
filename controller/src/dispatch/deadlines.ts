import type { Clock } from '@fleetgate/shared/clock';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

/** Named one-shot timers of one owner: at most one of each name runs, and all of them end with their owner. */
export class Deadlines<Name extends string> {
  readonly #clock: Clock;
  readonly #cancels = new Map<Name, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Starts `name` unless it runs already. */
  start(name: Name, delay: Milliseconds, run: () => void): void {
    if (this.#cancels.has(name)) return;
    const cancel = this.#clock.after(delay, () => {
      this.#cancels.delete(name);
      run();
    });
    this.#cancels.set(name, cancel);
  }

  stop(name: Name): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }

  stopAll(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }
}
