/** A sequence of a context, and the tokens whose keys and values it holds. */
export interface PooledSequence {
  /** In order of position; whoever has the sequence keeps it true. */
  held: readonly number[];
}

interface Waiter<S> {
  readonly prompt: readonly number[];
  readonly give: (sequence: S) => void;
}

/**
 * Lends sequences one at a time, in the order they were asked for. Of the free ones it lends that which holds the longest
 * common beginning with the prompt, so that only the rest needs to be evaluated; of equal ones, that which was given back
 * first.
 */
export class SequencePool<S extends PooledSequence> {
  readonly #free: S[];
  readonly #waiting: Waiter<S>[] = [];

  constructor(sequences: readonly S[]) {
    this.#free = [...sequences];
  }

  /** Undefined when aborted first. */
  async acquire(prompt: readonly number[], signal: AbortSignal): Promise<S | undefined> {
    if (signal.aborted) return undefined;
    const free = this.#best(prompt);
    if (free !== undefined) return free;
    return new Promise((resolve) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(undefined);
      };
      const waiter: Waiter<S> = {
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

  release(sequence: S): void {
    this.#free.push(sequence);
    const next = this.#waiting.shift();
    const best = next === undefined ? undefined : this.#best(next.prompt);
    if (best !== undefined) next?.give(best);
  }

  #best(prompt: readonly number[]): S | undefined {
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
