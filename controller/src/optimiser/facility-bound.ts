/**
 * Lagrangian bound of a partly decided subset (Cornuejols, Fisher, Nemhauser 1977, with budgets and replicas priced too).
 *
 * Each client pays a price for being served, each budget costs a price per unit; then a facility is worth its reduced
 * gain on its own, and the best choice is the `most` largest gains. With any prices of at least 0 the result is a bound;
 * the best prices give the bound of the strong linear relaxation. Subgradient steps look for them.
 */
import type { PartialSubset } from './partial-subset.js';
import type { SubsetForm } from './subset-problem.js';

/** Share of the last direction kept in the next: damps the zigzag of plain subgradients. */
const MOMENTUM = 0.3;
/** How fast the memory of which facilities were selected fades, for branching. */
const FADING = 0.1;

export class FacilityBound {
  /** By client; what a facility has to beat to serve it. */
  readonly clientPrice: Float64Array;
  /** By resource, then covered client. Resources are in units of their whole budget. */
  readonly rowPrice: Float64Array;
  /** By facility, valid for those that were free at the last `evaluate`. */
  readonly gain: Float64Array;
  /** Free facilities by falling gain; the first `selected` are the relaxed choice. */
  readonly order: Int32Array;
  orderLength = 0;
  selected = 0;
  /** By facility: how often it was selected of late, 0..1. */
  readonly tendency: Float64Array;
  readonly #form: SubsetForm;
  readonly #partial: PartialSubset;
  readonly #share: Float64Array;
  readonly #clientStep: Float64Array;
  readonly #rowStep: Float64Array;
  #length = 0;

  constructor(partial: PartialSubset) {
    const { form } = partial;
    this.#form = form;
    this.#partial = partial;
    this.clientPrice = new Float64Array(form.clients);
    this.rowPrice = new Float64Array(form.resources + form.covered);
    this.gain = new Float64Array(form.facilities);
    this.order = Int32Array.from({ length: form.facilities }, (_, i) => i);
    this.tendency = new Float64Array(form.facilities);
    this.#share = budgetShares(form);
    this.#clientStep = new Float64Array(form.clients);
    this.#rowStep = new Float64Array(this.rowPrice.length);
  }

  /** The bound at the present prices; refreshes gains, order and selection. O(free * clients). */
  evaluate(): number {
    const partial = this.#partial;
    const total = this.#fixedPart();
    for (let f = 0; f < partial.freeCount; f++) {
      const i = partial.free[f] ?? 0;
      this.gain[i] = this.#gainOf(i);
    }
    this.#sort();
    return total + this.#select();
  }

  /** Starts a new direction. */
  restart(): void {
    this.#clientStep.fill(0);
    this.#rowStep.fill(0);
  }

  /** One step downhill, by `ease` times what a straight slope down to `target` would take (Polyak 1969). */
  descend(level: number, target: number, ease: number): void {
    this.#direct();
    if (this.#length === 0) return;
    const step = (ease * Math.max(level - target, 1e-12 * Math.abs(level))) / this.#length;
    const { base } = this.#partial;
    for (let c = 0; c < this.clientPrice.length; c++)
      this.clientPrice[c] = Math.max(base[c] ?? 0, (this.clientPrice[c] ?? 0) - step * (this.#clientStep[c] ?? 0));
    for (let r = 0; r < this.rowPrice.length; r++)
      this.rowPrice[r] = Math.max(0, (this.rowPrice[r] ?? 0) - step * (this.#rowStep[r] ?? 0));
  }

  #fixedPart(): number {
    const { base, spare, missing, memberCost, form } = this.#partial;
    let total = form.constant - memberCost;
    for (let c = 0; c < form.clients; c++) {
      const price = Math.max(base[c] ?? 0, this.clientPrice[c] ?? 0);
      this.clientPrice[c] = price;
      total += price;
    }
    for (let j = 0; j < form.resources; j++)
      total += ((this.rowPrice[j] ?? 0) * (spare[j] ?? 0)) / (form.limit[j] ?? 1);
    for (let k = 0; k < form.covered; k++)
      if ((missing[k] ?? 0) > 0) total -= (this.rowPrice[form.resources + k] ?? 0) * (missing[k] ?? 0);
    return total;
  }

  #gainOf(i: number): number {
    const { clients, value, openCost, resources, covered, serves } = this.#form;
    const prices = this.clientPrice;
    let gain = -(openCost[i] ?? 0);
    for (let c = 0, at = i * clients; c < clients; c++, at++) {
      const excess = (value[at] ?? 0) - (prices[c] ?? 0);
      if (excess > 0) gain += excess;
    }
    for (let j = 0; j < resources; j++) gain -= (this.rowPrice[j] ?? 0) * (this.#share[i * resources + j] ?? 0);
    for (let k = 0; k < covered; k++)
      if (serves[i * covered + k] === 1 && (this.#partial.missing[k] ?? 0) > 0)
        gain += this.rowPrice[resources + k] ?? 0;
    return gain;
  }

  /** Insertion sort: from one step to the next the order hardly changes. */
  #sort(): void {
    const { state, free, freeCount } = this.#partial;
    const { order, gain } = this;
    let length = 0;
    for (let f = 0; f < this.orderLength; f++) if (state[order[f] ?? 0] === 0) order[length++] = order[f] ?? 0;
    if (length !== freeCount) order.set(free.subarray(0, freeCount));
    for (let f = 1; f < freeCount; f++) {
      const i = order[f] ?? 0;
      const own = gain[i] ?? 0;
      let at = f;
      while (at > 0 && (gain[order[at - 1] ?? 0] ?? 0) < own) {
        order[at] = order[at - 1] ?? 0;
        at--;
      }
      order[at] = i;
    }
    this.orderLength = freeCount;
  }

  #select(): number {
    const { slots, due } = this.#partial;
    let total = 0;
    let count = 0;
    for (; count < slots; count++) {
      const gain = this.gain[this.order[count] ?? 0] ?? 0;
      if (gain <= 0 && count >= due) break;
      total += gain;
    }
    this.selected = count;
    return total;
  }

  /** The subgradient at the selection, mixed with the last direction; its squared length is kept. */
  #direct(): void {
    const { clients, value, resources, covered, serves, limit } = this.#form;
    const { spare, missing } = this.#partial;
    const keep = this.#length === 0 ? 0 : MOMENTUM;
    const client = this.#clientStep;
    const row = this.#rowStep;
    for (let c = 0; c < clients; c++) client[c] = 1 - keep + keep * (client[c] ?? 0);
    for (let j = 0; j < resources; j++)
      row[j] = ((1 - keep) * (spare[j] ?? 0)) / (limit[j] ?? 1) + keep * (row[j] ?? 0);
    for (let k = 0; k < covered; k++)
      row[resources + k] = -(1 - keep) * Math.max(0, missing[k] ?? 0) + keep * (row[resources + k] ?? 0);
    for (let f = 0; f < this.orderLength; f++) {
      const i = this.order[f] ?? 0;
      this.tendency[i] = (1 - FADING) * (this.tendency[i] ?? 0) + (f < this.selected ? FADING : 0);
      if (f >= this.selected) continue;
      for (let c = 0, at = i * clients; c < clients; c++, at++)
        if ((value[at] ?? 0) > (this.clientPrice[c] ?? 0)) client[c] = (client[c] ?? 0) - (1 - keep);
      for (let j = 0; j < resources; j++) row[j] = (row[j] ?? 0) - (1 - keep) * (this.#share[i * resources + j] ?? 0);
      for (let k = 0; k < covered; k++)
        if (serves[i * covered + k] === 1 && (missing[k] ?? 0) > 0)
          row[resources + k] = (row[resources + k] ?? 0) + (1 - keep);
    }
    // What its limit holds back does not move, so it must not shorten the step of the others.
    const { base } = this.#partial;
    for (let c = 0; c < clients; c++)
      if ((client[c] ?? 0) > 0 && (this.clientPrice[c] ?? 0) <= (base[c] ?? 0)) client[c] = 0;
    for (let r = 0; r < row.length; r++) if ((row[r] ?? 0) > 0 && (this.rowPrice[r] ?? 0) <= 0) row[r] = 0;
    this.#length = squaredLength(client) + squaredLength(row);
  }
}

function squaredLength(vector: Float64Array): number {
  let total = 0;
  for (const each of vector) total += each * each;
  return total;
}

function budgetShares({ facilities, resources, use, limit }: SubsetForm): Float64Array {
  const shares = new Float64Array(facilities * resources);
  for (let i = 0; i < facilities; i++)
    for (let j = 0; j < resources; j++) shares[i * resources + j] = (use[i * resources + j] ?? 0) / (limit[j] ?? 1);
  return shares;
}
