import { FacilityBound } from './facility-bound.js';
import { PartialSubset } from './partial-subset.js';
import { IN, OUT, type SubsetForm } from './subset-problem.js';

/** Who wants the subsets that a search finds. */
export interface SubsetSink {
  /** Subsets whose bound is at most this are of no interest; may rise during the search. */
  readonly cut: number;
  /** What the bound should come down to. -Infinity: not known yet. */
  readonly target: number;
  /** Members in rising order. */
  offer(members: readonly number[]): void;
  /** Takes the relaxed choice of a node as a hint for good subsets. */
  round?(members: readonly number[], depth: number): void;
}

/** Price steps at the root, where they serve the whole search, and at the other nodes, which start from their parent's. */
const ROOT_STEPS = 400;
const NODE_STEPS = 30;
/** Steps without a better bound before the step length is halved. */
const PATIENCE = 6;
/** Below this the steps have come to rest. */
const SMALLEST_EASE = 0.01;

/**
 * Depth-first branch-reduce-bound over all subsets: offers every subset worth more than the cut, save those that `round`
 * may have offered before. Stops when `expired`; `openBound` then covers what was not looked at.
 */
export class SubsetSearch {
  nodes = 0;
  isCut = false;
  /** Largest bound of what was left when time ran out; -Infinity when nothing was. */
  openBound = -Infinity;
  /** Largest bound of what was cut off as of no interest. */
  dismissed = -Infinity;
  readonly #partial: PartialSubset;
  readonly #bound: FacilityBound;
  readonly #sink: SubsetSink;
  readonly #expired: () => boolean;

  constructor(form: SubsetForm, sink: SubsetSink, expired: () => boolean) {
    this.#partial = new PartialSubset(form);
    this.#bound = new FacilityBound(this.#partial);
    this.#sink = sink;
    this.#expired = expired;
  }

  /** `prices`: by client, where the root starts. */
  run(prices?: Float64Array): void {
    if (prices !== undefined) this.#bound.clientPrice.set(prices);
    this.#visit(Infinity, 0);
  }

  #visit(above: number, depth: number): void {
    this.nodes++;
    const { mark } = this.#partial;
    const bound = this.#settle(above, depth);
    if (bound > this.#sink.cut) this.#branch(bound, depth);
    else this.#dismiss(bound);
    this.#partial.undo(mark);
  }

  /** The node's bound; -Infinity when nothing is left to look at. */
  #settle(above: number, depth: number): number {
    if (!this.#partial.propagate() || this.#isClosed()) return -Infinity;
    const bound = Math.min(above, this.#everything());
    if (bound <= this.#sink.cut) return bound;
    this.isCut ||= this.#expired();
    if (this.isCut) {
      this.openBound = Math.max(this.openBound, bound);
      return -Infinity;
    }
    return this.#tighten(bound, depth);
  }

  #branch(bound: number, depth: number): void {
    const facility = this.#fork();
    const client = this.#bound.clientPrice.slice();
    const row = this.#bound.rowPrice.slice();
    const { mark } = this.#partial;
    for (const side of [IN, OUT] as const) {
      this.#bound.clientPrice.set(client);
      this.#bound.rowPrice.set(row);
      this.#partial.decide(facility, side);
      this.#visit(bound, depth + 1);
      this.#partial.undo(mark);
    }
  }

  /** The facility that the relaxed choices agree on least. */
  #fork(): number {
    const { free, freeCount } = this.#partial;
    let [choice, most] = [free[0] ?? 0, -1];
    for (let f = 0; f < freeCount; f++) {
      const i = free[f] ?? 0;
      const tendency = this.#bound.tendency[i] ?? 0;
      const doubt = Math.min(tendency, 1 - tendency);
      if (doubt > most) [choice, most] = [i, doubt];
    }
    return choice;
  }

  /** Offers all completions where there are few; true when that was all of them. */
  #isClosed(): boolean {
    const partial = this.#partial;
    if (partial.freeCount > 0 && partial.slots > 1) return false;
    const members = Array.from(partial.members.subarray(0, partial.memberCount));
    if (this.#isComplete()) this.#sink.offer(members);
    for (let f = 0; f < partial.freeCount; f++) {
      const i = partial.free[f] ?? 0;
      if (!this.#isComplete(i)) continue;
      const value = this.#valueWith(i);
      if (value > this.#sink.cut) this.#sink.offer([...members, i].sort((a, b) => a - b));
      else this.#dismiss(value);
    }
    return true;
  }

  #valueWith(extra: number): number {
    const { base, memberCost, form } = this.#partial;
    let total = form.constant - memberCost - (form.openCost[extra] ?? 0);
    for (let c = 0, at = extra * form.clients; c < form.clients; c++, at++)
      total += Math.max(base[c] ?? 0, form.value[at] ?? 0);
    return total;
  }

  #isComplete(extra?: number): boolean {
    const { due, missing, form } = this.#partial;
    if (due > (extra === undefined ? 0 : 1)) return false;
    for (let k = 0; k < form.covered; k++) {
      const gain = extra === undefined ? 0 : (form.serves[extra * form.covered + k] ?? 0);
      if ((missing[k] ?? 0) > gain) return false;
    }
    return true;
  }

  /** Bound by monotony: every client gets the best of all that are in or free, at no cost. */
  #everything(): number {
    const { form, base, free, freeCount, memberCost } = this.#partial;
    const best = base.slice();
    let total = form.constant - memberCost;
    for (let f = 0; f < freeCount; f++) {
      const i = free[f] ?? 0;
      total += Math.max(0, -(form.openCost[i] ?? 0));
      for (let c = 0, at = i * form.clients; c < form.clients; c++, at++) {
        const each = form.value[at] ?? 0;
        if (each > (best[c] ?? 0)) best[c] = each;
      }
    }
    for (const each of best) total += each;
    return total;
  }

  /** Lowers the bound by price steps, fixing facilities on the way; -Infinity when nothing is left. */
  #tighten(above: number, depth: number): number {
    const bound = this.#bound;
    const descent = { best: above, ease: depth === 0 ? 1 : 0.5, stalled: 0 };
    const client = bound.clientPrice.slice();
    const row = bound.rowPrice.slice();
    bound.restart();
    for (let step = 0; step < (depth === 0 ? ROOT_STEPS : NODE_STEPS); step++) {
      const level = bound.evaluate();
      if (level < descent.best || step === 0) {
        descent.best = Math.min(level, descent.best);
        descent.stalled = 0;
        client.set(bound.clientPrice);
        row.set(bound.rowPrice);
      } else if (++descent.stalled >= PATIENCE) {
        descent.stalled = 0;
        descent.ease /= 2;
      }
      if (descent.best <= this.#sink.cut) return descent.best;
      if (this.#reduce(level)) {
        if (!this.#partial.propagate() || this.#isClosed()) return -Infinity;
      } else if (descent.ease < SMALLEST_EASE || (step % 4 === 3 && this.#expired())) break;
      else bound.descend(level, this.#target(level), descent.ease);
    }
    bound.clientPrice.set(client);
    bound.rowPrice.set(row);
    this.#round(depth);
    return descent.best;
  }

  #target(level: number): number {
    const { target } = this.#sink;
    return target === -Infinity ? level - 0.05 * Math.abs(level) : target;
  }

  #round(depth: number): void {
    if (this.#sink.round === undefined) return;
    const { members, memberCount } = this.#partial;
    const { order, selected } = this.#bound;
    this.#sink.round([...members.subarray(0, memberCount), ...order.subarray(0, selected)], depth);
  }

  /** Decides every free facility whose other side is bounded by the cut; true when there was one. */
  #reduce(level: number): boolean {
    const { order, gain, orderLength, selected } = this.#bound;
    const { slots, due, mark } = this.#partial;
    const { cut } = this.#sink;
    const last = selected === 0 ? Infinity : (gain[order[selected - 1] ?? 0] ?? 0);
    const next = selected < orderLength ? (gain[order[selected] ?? 0] ?? 0) : -Infinity;
    const added = selected < slots ? 0 : Infinity;
    const dropped = selected > due ? 0 : -Infinity;
    for (let f = 0; f < orderLength; f++) {
      const i = order[f] ?? 0;
      const own = gain[i] ?? 0;
      const other = f < selected ? level - own + Math.max(next, dropped) : level + own - Math.min(last, added);
      if (other > cut) continue;
      this.#dismiss(other);
      this.#partial.decide(i, f < selected ? IN : OUT);
    }
    return this.#partial.mark > mark;
  }

  #dismiss(bound: number): void {
    this.dismissed = Math.max(this.dismissed, bound);
  }
}
