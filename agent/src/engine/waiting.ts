import type { Clock } from '@fleetgate/shared/clock';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

/** Waits for `duration`, or until aborted; never rejects. */
export async function pause(clock: Clock, duration: Milliseconds, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.after(duration, end);
    signal.addEventListener('abort', end);
  });
}

/** What `promise` resolves with, or undefined when `signal` aborts first. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const end = (): void => resolve(undefined);
    signal.addEventListener('abort', end, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', end));
    if (signal.aborted) end();
  });
}

/** Aborts its signal when nothing restarts it for a while. End it when done. */
export class SilenceDeadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #deadline: Milliseconds;
  #cancel: () => void = () => {};

  constructor(clock: Clock, deadline: Milliseconds) {
    this.#clock = clock;
    this.#deadline = deadline;
    this.restart();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(): void {
    this.#cancel();
    this.#cancel = this.#clock.after(this.#deadline, () => this.#controller.abort());
  }

  end(): void {
    this.#cancel();
  }
}
