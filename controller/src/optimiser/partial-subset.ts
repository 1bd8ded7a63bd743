import { FREE, IN, OUT, type SubsetForm } from './subset-problem.js';

/**
 * Facilities that are decided and those that are still free, with everything that follows from the constraints.
 *
 * Decisions are undone back to a mark; all other fields are up to date after `propagate` only.
 */
export class PartialSubset {
  readonly state: Int8Array;
  /** By client: what the facilities that are in give already. */
  readonly base: Float64Array;
  /** By resource: what those in leave of the budget. */
  readonly spare: Float64Array;
  /** By covered client: replicas that are still missing; below 0 when there are more than needed. */
  readonly missing: Int32Array;
  readonly members: Int32Array;
  memberCount = 0;
  memberCost = 0;
  readonly free: Int32Array;
  freeCount = 0;
  readonly form: SubsetForm;
  readonly #trail: Int32Array;
  #trailLength = 0;

  constructor(form: SubsetForm) {
    this.form = form;
    this.state = Int8Array.from(form.fixed);
    this.base = new Float64Array(form.clients);
    this.spare = new Float64Array(form.resources);
    this.missing = new Int32Array(form.covered);
    this.members = new Int32Array(form.facilities);
    this.free = new Int32Array(form.facilities);
    this.#trail = new Int32Array(form.facilities);
  }

  get mark(): number {
    return this.#trailLength;
  }

  /** How many more facilities may come in. */
  get slots(): number {
    return Math.min(this.form.most - this.memberCount, this.freeCount);
  }

  /** How many more facilities have to come in. */
  get due(): number {
    return Math.max(0, this.form.least - this.memberCount);
  }

  decide(facility: number, side: typeof IN | typeof OUT): void {
    this.state[facility] = side;
    this.#trail[this.#trailLength++] = facility;
  }

  undo(mark: number): void {
    while (this.#trailLength > mark) this.state[this.#trail[--this.#trailLength] ?? 0] = FREE;
  }

  /** Draws all conclusions; false when no completion meets the constraints. */
  propagate(): boolean {
    for (;;) {
      this.#tally();
      const before = this.#trailLength;
      if (!this.#settle()) return false;
      if (this.#trailLength === before) return true;
    }
  }

  fits(facility: number): boolean {
    const { resources, use } = this.form;
    for (let j = 0, at = facility * resources; j < resources; j++, at++)
      if ((use[at] ?? 0) > (this.spare[j] ?? 0)) return false;
    return true;
  }

  #tally(): void {
    const { facilities, limit, replicas, openCost } = this.form;
    this.base.fill(0);
    this.spare.set(limit);
    this.missing.fill(replicas);
    this.memberCount = 0;
    this.memberCost = 0;
    this.freeCount = 0;
    for (let i = 0; i < facilities; i++) {
      if (this.state[i] === FREE) this.free[this.freeCount++] = i;
      if (this.state[i] !== IN) continue;
      this.members[this.memberCount++] = i;
      this.memberCost += openCost[i] ?? 0;
      this.#take(i);
    }
  }

  #take(i: number): void {
    const { clients, value, resources, use, covered, serves } = this.form;
    for (let c = 0, at = i * clients; c < clients; c++, at++) {
      const each = value[at] ?? 0;
      if (each > (this.base[c] ?? 0)) this.base[c] = each;
    }
    for (let j = 0; j < resources; j++) this.spare[j] = (this.spare[j] ?? 0) - (use[i * resources + j] ?? 0);
    for (let k = 0; k < covered; k++) this.missing[k] = (this.missing[k] ?? 0) - (serves[i * covered + k] ?? 0);
  }

  #settle(): boolean {
    if (this.memberCount > this.form.most || this.memberCount + this.freeCount < this.form.least) return false;
    for (const spare of this.spare) if (spare < 0) return false;
    const isFull = this.memberCount === this.form.most;
    for (let f = 0; f < this.freeCount; f++) {
      const i = this.free[f] ?? 0;
      if (isFull || !this.fits(i)) this.decide(i, OUT);
      else if (this.memberCount + this.freeCount === this.form.least) this.decide(i, IN);
    }
    return this.#cover();
  }

  /** A client with no more free facilities than it misses replicas needs all of them. */
  #cover(): boolean {
    const { covered, serves } = this.form;
    for (let k = 0; k < covered; k++) {
      const missing = this.missing[k] ?? 0;
      if (missing <= 0) continue;
      let able = 0;
      for (let f = 0; f < this.freeCount; f++) able += serves[(this.free[f] ?? 0) * covered + k] ?? 0;
      if (able < missing) return false;
      if (able > missing) continue;
      for (let f = 0; f < this.freeCount; f++) {
        const i = this.free[f] ?? 0;
        if (serves[i * covered + k] !== 1) continue;
        if (this.state[i] === OUT) return false;
        if (this.state[i] === FREE) this.decide(i, IN);
      }
    }
    return true;
  }
}
