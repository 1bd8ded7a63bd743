/** A sequence of a context, and the tokens whose keys and values it holds. */
export interface PooledSequence {
  readonly id: number;
  /** In order of position; whoever has the sequence keeps it true. */
  held: number[];
}

interface Waiter {
  readonly prompt: readonly number[];
  readonly give: (sequence: PooledSequence) => void;
}

/**
 * Lends sequences one at a time, in the order they were asked for. Of the free ones it lends that which holds the longest
 * common beginning with the prompt, so that only the rest needs to be evaluated; of equal ones, that which was given back
 * first.
 */
export class SequencePool {
  readonly #free: PooledSequence[];
  readonly #waiting: Waiter[] = [];

  constructor(count: number) {
    this.#free = Array.from({ length: count }, (_, id) => ({ id, held: [] }));
  }

  /** Undefined when aborted first. */
  async acquire(prompt: readonly number[], signal: AbortSignal): Promise<PooledSequence | undefined> {
    if (signal.aborted) return undefined;
    const free = this.#best(prompt);
    if (free !== undefined) return free;
    return new Promise((resolve) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(undefined);
      };
      const waiter: Waiter = {
        prompt,
        give: (sequence) => {
          signal.removeEventListener('abort', onAbort);
          resolve(sequence);
        },
      };
      this.#waiting.push(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  release(sequence: PooledSequence): void {
    this.#free.push(sequence);
    const next = this.#waiting.shift();
    const best = next === undefined ? undefined : this.#best(next.prompt);
    if (best !== undefined) next?.give(best);
  }

  #best(prompt: readonly number[]): PooledSequence | undefined {
    let best = -1;
    let longest = -1;
    for (const [at, { held }] of this.#free.entries()) {
      const length = commonBeginning(held, prompt);
      if (length <= longest) continue;
      best = at;
      longest = length;
    }
    return best < 0 ? undefined : this.#free.splice(best, 1)[0];
  }
}

/** How many tokens two texts begin with in common. */
export function commonBeginning(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  for (let i = 0; i < most; i++) if (a[i] !== b[i]) return i;
  return most;
}
