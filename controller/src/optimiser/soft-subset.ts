/**
 * Choosing experts for a masked softmax gate (kind `softgate`), which is not monotone: one more expert may take weight
 * from a better one. Branch and bound whose bound lets every class pick the best mix that the chosen experts still allow.
 */
import type { GateProblem } from './gate-problem.js';
import type { SubsetLimits, SubsetResult } from './subset-kernel.js';

export type SoftGate = Extract<GateProblem, { kind: 'softgate' }>;

/** Experts looked at between two looks at the clock: some ten microseconds. */
const CLOCK_EVERY = 4096;
/** Below this a softmax weight has lost its precision. */
const TINY = 1e-250;
const ROUNDING = 1e-12;

/** F(S): the gate asks the `topk` experts of the subset with the largest logits (of equals the first) and mixes by softmax. */
export function softValue(problem: SoftGate, subset: readonly number[]): number {
  return problem.weight.reduce((total, weight, k) => total + weight * classValue(problem, subset, k), 0);
}

function classValue({ logit, quality, topk }: SoftGate, subset: readonly number[], k: number): number {
  const of = (i: number) => logit[i]?.[k] ?? -Infinity;
  const asked = subset.toSorted((a, b) => of(b) - of(a) || a - b).slice(0, topk ?? subset.length);
  const top = of(asked[0] ?? -1);
  let mass = 0;
  let value = 0;
  for (const i of asked) {
    const share = Math.exp(of(i) - top);
    mass += share;
    value += share * (quality[i]?.[k] ?? 0);
  }
  return mass === 0 ? 0 : value / mass;
}

/** The best subset, proven unless time runs out. O(2^n) at worst; some tens of experts as a rule. */
export function bestSoftSubset(problem: SoftGate, limits: SubsetLimits): SubsetResult {
  const search = new SoftSearch(problem, limits);
  search.run();
  const { best, value, nodes, isCut } = search;
  const rest = Math.max(search.openBound, search.dismissed);
  if (best === undefined) {
    if (!isCut) return { status: 'infeasible', subset: null, objective: null, bound: null, nodes };
    return { status: 'timeout', subset: null, objective: null, bound: rest, nodes };
  }
  const isProven = rest <= value + 1e-9 * Math.max(1, Math.abs(value));
  const status = isProven ? 'optimal' : isCut ? 'timeout' : 'feasible';
  return { status, subset: best, objective: value, bound: Math.max(rest, value), nodes };
}

class SoftSearch {
  best: readonly number[] | undefined;
  value = -Infinity;
  nodes = 0;
  isCut = false;
  openBound = -Infinity;
  dismissed = -Infinity;
  readonly #problem: SoftGate;
  readonly #limits: SubsetLimits;
  /** By class, each made when it is first needed: of thousands of classes that alone may take longer than there is time. */
  readonly #ceilings: ClassCeiling[] = [];
  #sinceClock = 0;

  constructor(problem: SoftGate, limits: SubsetLimits) {
    this.#problem = problem;
    this.#limits = limits;
  }

  run(): void {
    const { experts, weight, quality } = this.#problem;
    const potential = Array.from({ length: experts }, (_, i) =>
      weight.reduce((total, each, k) => total + each * (quality[i]?.[k] ?? 0), 0),
    );
    const order = potential.map((_, i) => i).sort((a, b) => (potential[b] ?? 0) - (potential[a] ?? 0));
    const highest = weight.map((_, k) => quality.reduce((most, row) => Math.max(most, row[k] ?? 0), 0));
    const ceiling = weight.reduce((total, each, k) => total + each * (highest[k] ?? 0), 0);
    this.#fill(order);
    this.#visit([], order, ceiling);
  }

  /** Something to have where not even the first bound is found in time: the experts that fit, one after the other. */
  #fill(order: readonly number[]): void {
    const chosen: number[] = [];
    for (const i of order) {
      if (this.#isLate(this.#problem.experts)) return;
      if (!fits(this.#problem, chosen, i)) continue;
      chosen.push(i);
      this.#offer(chosen);
    }
  }

  /** All subsets of `chosen` with any of `rest`; none is worth more than `above`. */
  #visit(chosen: readonly number[], rest: readonly number[], above: number): void {
    this.nodes++;
    const able = rest.filter((i) => fits(this.#problem, chosen, i));
    const bound = Math.min(above, this.#bound(chosen, able));
    const margin = Math.max(ROUNDING, this.#limits.gap ?? 0) * Math.max(1, Math.abs(this.value));
    if (this.best !== undefined && bound <= this.value + margin) {
      this.dismissed = Math.max(this.dismissed, bound);
      return;
    }
    if (this.#isLate(rest.length)) {
      this.openBound = Math.max(this.openBound, bound);
      return;
    }
    if (!canReplicate(this.#problem, [...chosen, ...able])) return;
    this.#offer(chosen);
    able.forEach((expert, at) => this.#visit([...chosen, expert], able.slice(at + 1), bound));
  }

  #offer(chosen: readonly number[]): void {
    if (!canReplicate(this.#problem, chosen)) return;
    const value = softValue(this.#problem, chosen);
    if (value > this.value) [this.best, this.value] = [chosen.toSorted((a, b) => a - b), value];
  }

  /** Whether the time is over, asked after each `work` of a few nanoseconds. */
  #isLate(work: number): boolean {
    this.#sinceClock += work;
    if (this.isCut || this.#sinceClock < CLOCK_EVERY) return this.isCut;
    this.#sinceClock = 0;
    this.isCut = this.#limits.expired();
    return this.isCut;
  }

  /** Infinity when time runs out on the way. */
  #bound(chosen: readonly number[], able: readonly number[]): number {
    const { experts, weight, maxExperts } = this.#problem;
    const side = new Int8Array(experts);
    for (const i of able) side[i] = 1;
    for (const i of chosen) side[i] = 2;
    const slots = Math.min(able.length, (maxExperts ?? experts) - chosen.length);
    let total = 0;
    for (let k = 0; k < weight.length; k++) {
      if (this.#isLate(experts)) return Infinity;
      const ceiling = (this.#ceilings[k] ??= new ClassCeiling(this.#problem, k));
      total += (weight[k] ?? 0) * ceiling.of(side, slots);
    }
    return total;
  }
}

/** What one class can be worth at most once some experts are chosen (side 2) and some may follow (side 1). */
class ClassCeiling {
  /** Experts by falling logit, of equals the first first: the order in which the gate asks. */
  readonly #byLogit: Int32Array;
  readonly #byQuality: Int32Array;
  readonly #quality: Float64Array;
  readonly #mass: Float64Array;
  readonly #topk: number;
  /** Experts that may join, by falling quality. */
  readonly #joiners: Int32Array;
  #joinerCount = 0;

  constructor({ experts, quality, logit, topk }: SoftGate, k: number) {
    const all = Array.from({ length: experts }, (_, i) => i);
    const of = (i: number) => logit[i]?.[k] ?? 0;
    this.#quality = Float64Array.from(all, (i) => quality[i]?.[k] ?? 0);
    this.#byLogit = Int32Array.from(all.toSorted((a, b) => of(b) - of(a) || a - b));
    this.#byQuality = Int32Array.from(all.toSorted((a, b) => (quality[b]?.[k] ?? 0) - (quality[a]?.[k] ?? 0)));
    const top = of(this.#byLogit[0] ?? 0);
    this.#mass = Float64Array.from(all, (i) => Math.exp(of(i) - top));
    this.#topk = topk ?? experts;
    this.#joiners = new Int32Array(experts);
  }

  /**
   * The largest over all experts that may be the last one asked. Chosen experts that come before it are asked too, so
   * they weigh in; of the others before it those join that raise the mean. O(experts^2).
   */
  of(side: Int8Array, slots: number): number {
    let chosenLater = side.reduce((count, each) => count + (each === 2 ? 1 : 0), 0);
    if (this.#topk >= side.length) return this.#mixed(side);
    let [sure, mass, value, ceiling] = [0, 0, 0, 0];
    this.#joinerCount = 0;
    for (const last of this.#byLogit) {
      if (side[last] === 0) continue;
      if (sure >= this.#topk) break;
      if (side[last] === 2) chosenLater--;
      const [ownMass, ownValue] = [this.#mass[last] ?? 0, (this.#mass[last] ?? 0) * (this.#quality[last] ?? 0)];
      const room = this.#topk - sure - 1;
      // With room left, a chosen expert further down would be asked as well.
      if (chosenLater === 0 || this.#joinerCount >= room) {
        const joining = Math.min(room, slots - (side[last] === 1 ? 1 : 0));
        ceiling = Math.max(ceiling, this.#mean(mass + ownMass, value + ownValue, joining) ?? this.#best(side));
      }
      if (side[last] === 1) this.#mayJoin(last);
      else [sure, mass, value] = [sure + 1, mass + ownMass, value + ownValue];
    }
    return ceiling;
  }

  /** Everyone chosen is asked. */
  #mixed(side: Int8Array): number {
    let [mass, value, chosen] = [0, 0, 0];
    this.#joinerCount = 0;
    for (const i of this.#byQuality) {
      if (side[i] === 1) this.#joiners[this.#joinerCount++] = i;
      if (side[i] !== 2) continue;
      chosen++;
      mass += this.#mass[i] ?? 0;
      value += (this.#mass[i] ?? 0) * (this.#quality[i] ?? 0);
    }
    return chosen === 0 ? this.#best(side) : (this.#mean(mass, value, this.#joinerCount) ?? this.#best(side));
  }

  /** The best mean when at most `joining` of the joiners join; undefined where the weights are too small to tell. */
  #mean(mass: number, value: number, joining: number): number | undefined {
    if (mass < TINY) return undefined;
    let best = value / mass;
    let [all, worth] = [mass, value];
    const able = joining > 0 ? this.#joinerCount : 0;
    for (let at = 0; at < able; at++) {
      const i = this.#joiners[at] ?? 0;
      const own = this.#mass[i] ?? 0;
      const quality = this.#quality[i] ?? 0;
      if (quality <= best) break;
      if (joining > 1) {
        all += own;
        worth += own * quality;
        best = worth / all;
      } else best = Math.max(best, (value + own * quality) / (mass + own));
    }
    return best;
  }

  #mayJoin(i: number): void {
    let at = this.#joinerCount++;
    for (; at > 0 && (this.#quality[this.#joiners[at - 1] ?? 0] ?? 0) < (this.#quality[i] ?? 0); at--)
      this.#joiners[at] = this.#joiners[at - 1] ?? 0;
    this.#joiners[at] = i;
  }

  #best(side: Int8Array): number {
    for (const i of this.#byQuality) if (side[i] !== 0) return this.#quality[i] ?? 0;
    return 0;
  }
}

function fits({ maxExperts, resources, budget }: SoftGate, chosen: readonly number[], extra: number): boolean {
  if (maxExperts !== null && chosen.length >= maxExperts) return false;
  return resources.every((use, j) => {
    const limit = budget[j] ?? Infinity;
    const total = chosen.reduce((sum, i) => sum + (use[i] ?? 0), use[extra] ?? 0);
    return total <= limit + 1e-9 * Math.max(1, Math.abs(limit));
  });
}

const canReplicate = ({ minReplicas, weight, quality }: SoftGate, subset: readonly number[]): boolean =>
  (minReplicas ?? 0) === 0 ||
  weight.every((_, k) => subset.filter((i) => (quality[i]?.[k] ?? 0) > 0).length >= (minReplicas ?? 0));
