/** Exact monotone subset selection: the best subset, or all that are worth more than a threshold. */
import { SeededRandom } from '@fleetgate/shared/random';

import { Interchange } from './interchange.js';
import { undominated } from './subset-dominance.js';
import { type SubsetForm, subsetForm, type SubsetProblem, valueOf } from './subset-problem.js';
import { SubsetSearch, type SubsetSink } from './subset-search.js';

export interface SubsetResult {
  /** `feasible`: stopped within the gap asked for; `timeout`: with the best found, if any, and a bound that holds. */
  readonly status: 'optimal' | 'feasible' | 'infeasible' | 'timeout';
  /** Rising. */
  readonly subset: readonly number[] | null;
  readonly objective: number | null;
  /** No subset is worth more. Null when infeasible. */
  readonly bound: number | null;
  readonly nodes: number;
}

export interface SubsetLimits {
  /** Asked often; once true, the search ends with what it has. */
  readonly expired: () => boolean;
  /** Relative gap at which to stop; 0 without it. */
  readonly gap?: number;
  /** Of the random restarts; the objective does not depend on it, the choice among equals may. */
  readonly seed?: number;
  /** A subset to start from, such as that of a problem much like this one; what does not fit is left out. */
  readonly start?: readonly number[];
}

/** Relative: what sums of doubles in another order may differ by. */
const ROUNDING = 1e-12;
const ROOT_ROUNDS = 12;

/**
 * The best subset by branch-reduce-bound: Lagrangian facility-location bound, fixing by reduced gains, interchange.
 *
 * Exact to 1e-12 of the objective; O(2^n) at worst, some thousand nodes as a rule.
 */
export function solveSubset(problem: SubsetProblem, limits: SubsetLimits): SubsetResult {
  const form = undominated(subsetForm(problem), limits.expired);
  const sink = new BestSubset(form, limits);
  sink.start();
  const search = new SubsetSearch(form, sink, limits.expired);
  search.run(sink.prices());
  const { nodes, isCut } = search;
  const rest = Math.max(search.openBound, form.isIntegral ? Math.floor(search.dismissed + 1e-6) : search.dismissed);
  if (sink.best === undefined) {
    if (!isCut) return { status: 'infeasible', subset: null, objective: null, bound: null, nodes };
    return { status: 'timeout', subset: null, objective: null, bound: rest, nodes };
  }
  const isProven = rest <= sink.value + 1e-9 * Math.max(1, Math.abs(sink.value));
  const status = isProven ? 'optimal' : isCut ? 'timeout' : 'feasible';
  return { status, subset: sink.best, objective: sink.value, bound: Math.max(rest, sink.value), nodes };
}

class BestSubset implements SubsetSink {
  best: readonly number[] | undefined;
  value = -Infinity;
  readonly #form: SubsetForm;
  readonly #limits: SubsetLimits;
  readonly #interchange: Interchange;
  #rounded = 0;

  constructor(form: SubsetForm, limits: SubsetLimits) {
    this.#form = form;
    this.#limits = limits;
    this.#interchange = new Interchange(form);
  }

  get cut(): number {
    if (this.best === undefined) return -Infinity;
    const size = Math.max(1, Math.abs(this.value));
    const margin = Math.max(ROUNDING, this.#limits.gap ?? 0) * size;
    return this.value + (this.#form.isIntegral ? Math.max(margin, 1 - 1e-6) : margin);
  }

  get target(): number {
    return this.value;
  }

  start(): void {
    const random = new SeededRandom(this.#limits.seed ?? 1);
    const rounds = Math.min(ROOT_ROUNDS, this.#form.facilities >> 1);
    const found = this.#interchange.search(this.#limits.start ?? [], rounds, random, this.#limits.expired);
    if (found !== undefined) this.offer(found);
  }

  offer(members: readonly number[]): void {
    const value = valueOf(this.#form, members);
    if (value > this.value) [this.best, this.value] = [members, value];
  }

  /** Rounding every relaxed choice would cost more than it finds. */
  round(members: readonly number[], depth: number): void {
    if (depth > 0 && this.#rounded++ % 16 !== 0) return;
    const found = this.#interchange.improve(members, this.#limits.expired);
    if (found !== undefined) this.offer(found);
  }

  /** By client, what the best subset gives: near the best prices where each client has one clear server. */
  prices(): Float64Array {
    const { clients, value } = this.#form;
    const prices = new Float64Array(clients);
    for (const i of this.best ?? [])
      for (let c = 0; c < clients; c++) prices[c] = Math.max(prices[c] ?? 0, value[i * clients + c] ?? 0);
    return prices;
  }
}
