import { type Copy, precedes } from './copy.js';

/** Which copies are worth looking at one by one. */
export interface Shortlist {
  /** The best of all, best first; then, in the same order, the best of each expert that has none among them. */
  readonly copies: readonly Copy[];
  /** How many may be chosen, listed or not. */
  readonly eligible: number;
}

/**
 * The `most` best copies and, of each expert, the best that may be chosen and the best that is on trial: who asks several
 * experts, or tries one to learn of it, looks no further. O(n log most).
 */
export function shortlist(copies: readonly Copy[], experts: number, most: number): Shortlist {
  const best = new Best(most);
  const open: (Copy | undefined)[] = Array.from({ length: experts });
  const onTrial: (Copy | undefined)[] = Array.from({ length: experts });
  let eligible = 0;
  for (const copy of copies) {
    best.offer(copy);
    if (copy.excluded === undefined) {
      eligible += 1;
      keepBetter(open, copy);
    } else if (copy.excluded === 'on-trial') keepBetter(onTrial, copy);
  }
  const listed = new Set(best.copies);
  const others = [...open, ...onTrial].filter((copy) => copy !== undefined).filter((copy) => !listed.has(copy));
  return { copies: [...best.copies, ...others.sort((a, b) => (precedes(a, b) ? -1 : 1))], eligible };
}

function keepBetter(bestOf: (Copy | undefined)[], copy: Copy): void {
  const { expertAt } = copy.placed;
  const before = bestOf[expertAt];
  if (before === undefined || precedes(copy, before)) bestOf[expertAt] = copy;
}

/** The best of what is offered, best first. */
class Best {
  readonly copies: Copy[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  offer(copy: Copy): void {
    const last = this.copies.length < this.#most ? undefined : this.copies.at(-1);
    if (last !== undefined && !precedes(copy, last)) return;
    if (last !== undefined) this.copies.pop();
    this.copies.splice(this.#rankOf(copy), 0, copy);
  }

  /** How many of those so far come before it. */
  #rankOf(copy: Copy): number {
    let [low, high] = [0, this.copies.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.copies[middle];
      if (other !== undefined && precedes(copy, other)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
