/** A fixed set of things lent one at a time, in the order they were asked for. */
export class Slots<T> {
  readonly #free: T[];
  readonly #waiting: ((slot: T) => void)[] = [];

  constructor(slots: readonly T[]) {
    this.#free = [...slots];
  }

  /** Waits for a free one; undefined when aborted first. Give it back with `release`. */
  async acquire(signal: AbortSignal): Promise<T | undefined> {
    if (signal.aborted) return undefined;
    const slot = this.#free.pop();
    if (slot !== undefined) return slot;
    return new Promise((resolve) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(give), 1);
        resolve(undefined);
      };
      const give = (given: T): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(given);
      };
      this.#waiting.push(give);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  release(slot: T): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(slot);
    else next(slot);
  }
}
