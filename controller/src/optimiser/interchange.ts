/**
 * Good subsets without proof: greedy filling, then single additions, removals and swaps while they help (Teitz and Bart
 * 1968; gains and losses of all swaps of one facility in one pass, after Whitaker 1983 and Resende and Werneck 2007).
 */
import type { Random } from '@fleetgate/shared/random';

import { FREE, IN, OUT, type SubsetForm, valueOf } from './subset-problem.js';

/** A gain below this share of the value is rounding. */
const NOISE = 1e-12;

export class Interchange {
  readonly #form: SubsetForm;
  readonly #isIn: Uint8Array;
  readonly #best: Float64Array;
  readonly #second: Float64Array;
  readonly #owner: Int32Array;
  readonly #used: Float64Array;
  readonly #replicas: Int32Array;
  readonly #loss: Float64Array;
  #count = 0;

  constructor(form: SubsetForm) {
    this.#form = form;
    this.#isIn = new Uint8Array(form.facilities);
    this.#best = new Float64Array(form.clients);
    this.#second = new Float64Array(form.clients);
    this.#owner = new Int32Array(form.clients);
    this.#used = new Float64Array(form.resources);
    this.#replicas = new Int32Array(form.covered);
    this.#loss = new Float64Array(form.facilities);
  }

  /**
   * A subset from `start` (whose members that do not fit are left out), filled up and improved until no single move helps
   * or `expired`; undefined when the replicas or the least count were not reached.
   */
  improve(start: Iterable<number>, expired: () => boolean): readonly number[] | undefined {
    this.#isIn.fill(0);
    this.#leave(-1);
    const { fixed, facilities } = this.#form;
    for (let i = 0; i < facilities; i++) if (fixed[i] === IN) this.#enter(i);
    for (const i of start) if (fixed[i] === FREE && this.#isIn[i] === 0 && this.#fits(i, -1)) this.#enter(i);
    while (!expired() && this.#add());
    if (!this.#isComplete()) return undefined;
    while (!expired() && (this.#swap() || this.#drop() || this.#add()));
    return this.#members();
  }

  /** Random restarts from the best subset so far; the best of all, undefined when none was found. */
  search(
    start: readonly number[],
    rounds: number,
    random: Random,
    expired: () => boolean,
  ): readonly number[] | undefined {
    let best = this.improve(start, expired);
    let value = best === undefined ? -Infinity : valueOf(this.#form, best);
    for (let round = 0; round < rounds && !expired(); round++) {
      const kept = (best ?? start).filter(() => random.uniform() < 0.7);
      const strangers = Array.from({ length: 2 }, () => Math.floor(random.uniform() * this.#form.facilities));
      const other = this.improve([...kept, ...strangers], expired);
      if (other === undefined) continue;
      const worth = valueOf(this.#form, other);
      if (worth > value) [best, value] = [other, worth];
    }
    return best;
  }

  #members(): number[] {
    const members: number[] = [];
    for (let i = 0; i < this.#form.facilities; i++) if (this.#isIn[i] === 1) members.push(i);
    return members;
  }

  #isComplete(): boolean {
    return (
      this.#count >= this.#form.least &&
      this.#replicas.every((count) => count >= this.#form.replicas) &&
      this.#used.every((used, j) => used <= (this.#form.limit[j] ?? 0)) &&
      this.#count <= this.#form.most
    );
  }

  #enter(i: number): void {
    const { clients, value, resources, use, covered, serves } = this.#form;
    this.#isIn[i] = 1;
    this.#count++;
    for (let c = 0, at = i * clients; c < clients; c++, at++) this.#rank(c, i, value[at] ?? 0);
    for (let j = 0; j < resources; j++) this.#used[j] = (this.#used[j] ?? 0) + (use[i * resources + j] ?? 0);
    for (let k = 0; k < covered; k++) this.#replicas[k] = (this.#replicas[k] ?? 0) + (serves[i * covered + k] ?? 0);
  }

  /** Lets `leaving` (-1: none) go and recomputes everything: the third best of a client is not known. */
  #leave(leaving: number): void {
    const members = this.#members().filter((i) => i !== leaving);
    this.#isIn.fill(0);
    this.#best.fill(0);
    this.#second.fill(0);
    this.#owner.fill(-1);
    this.#used.fill(0);
    this.#replicas.fill(0);
    this.#count = 0;
    for (const i of members) this.#enter(i);
  }

  #rank(c: number, i: number, value: number): void {
    if (value > (this.#best[c] ?? 0)) {
      this.#second[c] = this.#best[c] ?? 0;
      this.#best[c] = value;
      this.#owner[c] = i;
    } else if (value > (this.#second[c] ?? 0)) this.#second[c] = value;
  }

  /** May `i` come in, in place of `leaving` (-1: of none)? */
  #fits(i: number, leaving: number): boolean {
    const { resources, use, limit, covered, serves, replicas, most, fixed } = this.#form;
    if (fixed[i] === OUT || (leaving === -1 && this.#count >= most)) return false;
    for (let j = 0; j < resources; j++) {
      const freed = leaving === -1 ? 0 : (use[leaving * resources + j] ?? 0);
      if ((this.#used[j] ?? 0) - freed + (use[i * resources + j] ?? 0) > (limit[j] ?? 0)) return false;
    }
    if (leaving === -1) return true;
    for (let k = 0; k < covered; k++) {
      const lost = (serves[leaving * covered + k] ?? 0) - (serves[i * covered + k] ?? 0);
      if (lost > 0 && (this.#replicas[k] ?? 0) - lost < replicas) return false;
    }
    return true;
  }

  #noise(): number {
    let total = 0;
    for (const best of this.#best) total += best;
    return NOISE * total;
  }

  /** Adds what helps most; what is still missing (replicas, least count) comes before value. */
  #add(): boolean {
    const { facilities, covered, serves, replicas, least } = this.#form;
    const noise = this.#noise();
    let [choice, most, mostUrgent] = [-1, 0, 0];
    for (let i = 0; i < facilities; i++) {
      if (this.#isIn[i] === 1 || !this.#fits(i, -1)) continue;
      let urgent = this.#count < least ? 0.5 : 0;
      for (let k = 0; k < covered; k++) if ((this.#replicas[k] ?? 0) < replicas) urgent += serves[i * covered + k] ?? 0;
      const gain = this.#gainAndLosses(i);
      if (gain <= noise && urgent === 0) continue;
      if (choice === -1 || urgent > mostUrgent || (urgent === mostUrgent && gain > most))
        [choice, most, mostUrgent] = [i, gain, urgent];
    }
    if (choice !== -1) this.#enter(choice);
    return choice !== -1;
  }

  #swap(): boolean {
    const { facilities, fixed, openCost } = this.#form;
    let [entering, leaving, most] = [-1, -1, this.#noise()];
    const members = this.#members().filter((i) => fixed[i] !== IN);
    for (let i = 0; i < facilities; i++) {
      if (this.#isIn[i] === 1 || fixed[i] === OUT) continue;
      const gain = this.#gainAndLosses(i);
      for (const member of members) {
        const net = gain - (this.#loss[member] ?? 0) + (openCost[member] ?? 0);
        if (net > most && this.#fits(i, member)) [entering, leaving, most] = [i, member, net];
      }
    }
    if (entering === -1) return false;
    this.#leave(leaving);
    this.#enter(entering);
    return true;
  }

  #drop(): boolean {
    const { fixed, openCost, least, covered, serves, replicas } = this.#form;
    if (this.#count <= least) return false;
    this.#gainAndLosses(-1);
    const noise = this.#noise();
    const isSpare = (i: number) =>
      Array.from({ length: covered }, (_, k) => (this.#replicas[k] ?? 0) - (serves[i * covered + k] ?? 0)).every(
        (left) => left >= replicas,
      );
    const drop = this.#members().find(
      (i) => fixed[i] !== IN && (openCost[i] ?? 0) - (this.#loss[i] ?? 0) > noise && isSpare(i),
    );
    if (drop === undefined) return false;
    this.#leave(drop);
    return true;
  }

  /** What `entering` (-1: none) gains; `#loss` then holds, by member, what its leaving costs once `entering` is in. */
  #gainAndLosses(entering: number): number {
    const { clients, value, openCost } = this.#form;
    this.#loss.fill(0);
    let gain = entering === -1 ? 0 : -(openCost[entering] ?? 0);
    for (let c = 0; c < clients; c++) {
      const own = entering === -1 ? 0 : (value[entering * clients + c] ?? 0);
      const best = this.#best[c] ?? 0;
      const owner = this.#owner[c] ?? -1;
      if (own > best) gain += own - best;
      else if (owner !== -1) this.#loss[owner] = (this.#loss[owner] ?? 0) + best - Math.max(own, this.#second[c] ?? 0);
    }
    return gain;
  }
}
