import type { CopyTable } from './copy-table.js';

const NONE = -1;

/** Which copies are worth looking at one by one. */
export interface Shortlist {
  /** Rows of the best of all, best first; then, in the same order, the best of each expert that has none among them. */
  readonly rows: readonly number[];
  /** How many may be chosen, listed or not. */
  readonly eligible: number;
}

/**
 * The `most` best copies and, of each expert, the best that may be chosen and the best that is on trial: who asks several
 * experts, or tries one to learn of it, looks no further. O(n log most).
 */
export function shortlist(table: CopyTable, experts: number, most: number): Shortlist {
  const { excluded, expertAt, value } = table;
  const open = new Int32Array(experts).fill(NONE);
  const onTrial = new Int32Array(experts).fill(NONE);
  const best = new Best(table, most);
  let eligible = 0;
  for (let row = 0; row < table.length; row++) {
    const reason = excluded[row];
    if (reason !== undefined ? best.takesExcluded : (value[row] ?? 0) >= best.leastValue) best.offer(row);
    if (reason === undefined) eligible += 1;
    else if (reason !== 'on-trial') continue;
    const bestOf = reason === undefined ? open : onTrial;
    const expert = expertAt[row] ?? 0;
    const before = bestOf[expert] ?? NONE;
    if (before === NONE || table.precedes(row, before)) bestOf[expert] = row;
  }
  const last = best.rows.at(-1) ?? NONE;
  const others = [...open, ...onTrial].filter((row) => row !== NONE && table.precedes(last, row));
  return { rows: [...best.rows, ...others.sort((a, b) => (table.precedes(a, b) ? -1 : 1))], eligible };
}

/** The best rows of those that are offered, best first. */
class Best {
  readonly rows: number[] = [];
  /** What is worth less is not among them. */
  leastValue = -Infinity;
  takesExcluded = true;
  readonly #table: CopyTable;
  readonly #most: number;

  constructor(table: CopyTable, most: number) {
    this.#table = table;
    this.#most = most;
  }

  offer(row: number): void {
    const { rows } = this;
    const isFull = rows.length === this.#most;
    if (isFull && !this.#table.precedes(row, rows[rows.length - 1] ?? row)) return;
    const rank = this.#rankOf(row);
    for (let at = isFull ? rows.length - 1 : rows.length; at > rank; at--) rows[at] = rows[at - 1] ?? row;
    rows[rank] = row;
    const last = rows[this.#most - 1];
    if (last === undefined || this.#table.excluded[last] !== undefined) return;
    this.leastValue = this.#table.value[last] ?? 0;
    this.takesExcluded = false;
  }

  /** How many of those so far come before it. */
  #rankOf(row: number): number {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#table.precedes(row, this.rows[middle] ?? row)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
