import { type SubsetForm, subsetForm, type SubsetProblem, valueOf } from './subset-problem.js';
import { SubsetSearch, type SubsetSink } from './subset-search.js';

export interface WorthySubset {
  /** Rising. */
  readonly members: readonly number[];
  readonly value: number;
}

export interface SubsetList {
  /** `complete`: no other subset is worth more than was asked for; `truncated`: there may be, none worth more than the last. */
  readonly status: 'complete' | 'truncated' | 'timeout';
  /** By falling value. */
  readonly subsets: readonly WorthySubset[];
  /** No subset that is not listed is worth more. */
  readonly bound: number;
  readonly nodes: number;
}

export interface ListLimits {
  /** Only subsets worth more than this. */
  readonly above: number;
  /** Only the best so many; at least 1. */
  readonly most: number;
  readonly expired: () => boolean;
}

/**
 * All subsets worth more than a threshold, the best first: the certificate that nothing else can be better, when each
 * of them has been looked at in full. Subsets of equal value come in the order they were found in.
 */
export function listSubsets(problem: SubsetProblem, limits: ListLimits): SubsetList {
  const sink = new SubsetShelf(subsetForm(problem), limits);
  const search = new SubsetSearch(sink.form, sink, limits.expired);
  search.run();
  const { subsets } = sink;
  // Once the list is full, branches that cannot better its last are not looked into.
  const isTruncated = sink.hasDropped || (subsets.length >= limits.most && search.dismissed > limits.above);
  const left = isTruncated ? (subsets.at(-1)?.value ?? limits.above) : limits.above;
  return {
    status: search.isCut ? 'timeout' : isTruncated ? 'truncated' : 'complete',
    subsets,
    bound: Math.max(left, search.openBound),
    nodes: search.nodes,
  };
}

/** Keeps the `most` best of what is offered. */
class SubsetShelf implements SubsetSink {
  readonly form: SubsetForm;
  readonly subsets: WorthySubset[] = [];
  hasDropped = false;
  readonly #limits: ListLimits;

  constructor(form: SubsetForm, limits: ListLimits) {
    this.form = form;
    this.#limits = limits;
  }

  get target(): number {
    return Math.max(this.#limits.above, this.#isFull ? (this.subsets.at(-1)?.value ?? -Infinity) : -Infinity);
  }

  /** Bounds are sums in another order than values: what is within rounding of the threshold is looked at. */
  get cut(): number {
    const { target } = this;
    return target === -Infinity ? target : target - 1e-12 * Math.max(1, Math.abs(target));
  }

  get #isFull(): boolean {
    return this.subsets.length >= this.#limits.most;
  }

  offer(members: readonly number[]): void {
    const value = valueOf(this.form, members);
    if (!(value > this.#limits.above)) return;
    let [low, high] = [0, this.subsets.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.subsets[middle]?.value ?? 0) >= value) low = middle + 1;
      else high = middle;
    }
    this.subsets.splice(low, 0, { members, value });
    if (this.subsets.length <= this.#limits.most) return;
    this.subsets.pop();
    this.hasDropped = true;
  }
}
