import { applyRepair, boundValue, WHOLE } from './bound-change.js';
import { moved } from './bound-steps.js';
import type { BoundOf } from './exact-parts.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { Outcome } from './exact-answer.js';
import type { WhatIf } from './what-if.js';

/** Objectives with the bound at `value`; null where no plan fits, absent where it was not solved. */
export interface BoundStep {
  readonly value: number;
  /** Above 0: looser by so much; below 0: tighter. */
  readonly size: number;
  /** With the placement kept. */
  readonly kept?: number | null;
  /** Of the best plan found, and what is proven of all plans. */
  readonly best?: number | null;
  readonly bound?: number | null;
}

/** Points per unit, from the bound as it is. */
export interface Slope {
  readonly perUnit: number;
  /** The loosest bound found up to which every tried step buys at least half of that per unit. */
  readonly upTo: number;
  /** Nothing looser was tried, so it may go on. */
  readonly isOpen: boolean;
  /** The least tried bound from which looser ones buy nothing more; null when the loosest tried still does. */
  readonly flatFrom: number | null;
  /** Where small steps buy nothing, for experts and devices come whole: the first that buys anything, and the last that does not. */
  readonly jump?: { readonly at: number; readonly after: number };
}

/** A placement that is kept, or the best one. */
export type Side = 'kept' | 'best';

/** Gains below this are the solver's noise, relative to the objective. */
const NOISE = 4e-6;
/** Halvings of the range in which a price ends: the kept placement is a linear program, the best one a search. */
const BISECTIONS: Readonly<Record<Side, number>> = { kept: 4, best: 2 };

/** The steps of one bound that were tried, and what they say. */
export class BoundTrial {
  readonly steps: BoundStep[] = [];
  readonly #problem: PlacementProblem;
  readonly #plan: PlacementPlan;
  readonly #bound: BoundOf;
  readonly #whatIf: WhatIf;
  #base: number;

  constructor(problem: PlacementProblem, plan: PlacementPlan, bound: BoundOf, whatIf: WhatIf) {
    this.#problem = problem;
    this.#plan = plan;
    this.#bound = bound;
    this.#whatIf = whatIf;
    this.#base = plan.objective ?? 0;
  }

  /** Best known objective at the bound as it is. */
  get base(): number {
    return this.#base;
  }

  /** Solves with the bound moved by `size`, once with the placement kept and, unless only that is asked, once anew. */
  async step(size: number, side: Side = 'best'): Promise<BoundStep> {
    const from = boundValue(this.#problem, this.#bound);
    const to = moved(this.#bound.group, from, size);
    const changed = applyRepair(this.#problem, { changes: [{ ...this.#bound, from, to }] });
    const kept = await this.#whatIf.kept(changed, this.#plan);
    const plan = side === 'best' ? await this.#whatIf.best(changed, { mayFail: size < 0 }) : undefined;
    const step: BoundStep = {
      ...{ value: to, size },
      ...(kept === undefined ? {} : { kept }),
      ...(plan === undefined ? {} : this.#claims(size, plan, kept ?? null)),
    };
    this.steps.push(step);
    // A plan for a tighter bound is one for this.
    if (size <= 0) this.#base = Math.max(this.#base, step.best ?? this.#base);
    return step;
  }

  /** Never worse with more: the kept placement and the plans of tighter steps are plans of this step too. */
  #claims(size: number, plan: Outcome, kept: number | null): Pick<BoundStep, 'best' | 'bound'> {
    const known = this.steps.filter((step) => step.size <= size).map((step) => step.best ?? -Infinity);
    if (size >= 0) known.push(this.#base);
    const best = Math.max(plan.objective ?? -Infinity, kept ?? -Infinity, ...known);
    if (best > -Infinity) return { best, bound: plan.bound === null ? null : Math.max(plan.bound, best) };
    return plan.status === 'infeasible' ? { best: null, bound: null } : {};
  }

  /** Undefined where nothing was solved, null where looser buys nothing. */
  async slope(side: Side): Promise<Slope | null | undefined> {
    await this.#seekStart(side);
    const gains = this.#gains(side);
    const first = gains.findIndex(({ gain }) => gain > 0);
    const start = gains[first];
    if (start === undefined) return gains.length === 0 ? undefined : null;
    const perUnit = start.gain / start.size;
    const worth = ({ size, gain }: Gain) => gain / size >= perUnit / 2;
    const bad = gains.slice(first).find((each) => !worth(each))?.size;
    await this.#seekFlat(side);
    // What the kept placement gains, a new one gains as well.
    const known = [...gains, ...this.#gains('kept')].filter((each) => worth(each) && each.size < (bad ?? Infinity));
    const good = await this.#narrowed(side, Math.max(...known.map(({ size }) => size)), bad, worth);
    const flat = this.#flatSize(side);
    const at = (size: number) => moved(this.#bound.group, boundValue(this.#problem, this.#bound), size);
    return {
      perUnit,
      upTo: at(Math.min(good, flat ?? Infinity)),
      isOpen: bad === undefined && flat === undefined,
      flatFrom: flat === undefined ? null : at(flat),
      ...(first === 0 ? {} : { jump: { at: at(start.size), after: at(gains[first - 1]?.size ?? 0) } }),
    };
  }

  /** The largest step that is `worth` it, found by halving between one that is and one that is not. */
  async #narrowed(side: Side, from: number, until: number | undefined, worth: (gain: Gain) => boolean) {
    let [good, bad] = [from, until];
    if (WHOLE.has(this.#bound.group)) return good;
    for (let round = 0; bad !== undefined && round < BISECTIONS[side]; round++) {
      const size = (good + bad) / 2;
      const gain = this.#gain(await this.step(size, side), side);
      if (gain === undefined) break;
      if (worth({ size, gain })) good = size;
      else bad = size;
    }
    return good;
  }

  /** Where the smallest steps buy nothing: tries between the last that does not and the first that does. */
  async #seekStart(side: Side): Promise<void> {
    const gains = this.#gains(side);
    const first = gains.findIndex(({ gain }) => gain > 0);
    const [before, start] = [gains[first - 1], gains[first]];
    if (before === undefined || start === undefined || WHOLE.has(this.#bound.group)) return;
    let [low, high] = [before.size, start.size];
    for (let round = 0; round < 2 * BISECTIONS[side]; round++) {
      const size = (low + high) / 2;
      const gain = this.#gain(await this.step(size, side), side);
      if (gain === undefined) return;
      if (gain > 0) high = size;
      else low = size;
    }
  }

  /** Tries between the two loosest steps where looser stops to buy anything. */
  async #seekFlat(side: Side): Promise<void> {
    const [before, last] = this.#gains(side).slice(-2);
    if (before === undefined || last === undefined || WHOLE.has(this.#bound.group)) return;
    if (this.#flatSize(side) !== undefined) return;
    let [low, high] = [before.size, last.size];
    for (let round = 0; round < BISECTIONS[side]; round++) {
      const size = (low + high) / 2;
      const gain = this.#gain(await this.step(size, side), side);
      if (gain === undefined) return;
      if (gain >= last.gain - this.#noise()) high = size;
      else low = size;
    }
  }

  /** The least tried step that is as good as the loosest; undefined where the loosest is still better. */
  #flatSize(side: Side): number | undefined {
    const gains = this.#gains(side);
    const last = gains.at(-1);
    const flat = gains.find(({ gain }) => gain >= (last?.gain ?? 0) - this.#noise());
    return flat === last ? undefined : flat?.size;
  }

  /** What looser steps gain, by size. */
  #gains(side: Side): Gain[] {
    return this.steps
      .filter(({ size }) => size > 0)
      .toSorted((a, b) => a.size - b.size)
      .flatMap((step) => {
        const gain = this.#gain(step, side);
        return gain === undefined ? [] : [{ size: step.size, gain }];
      });
  }

  #gain(step: BoundStep, side: Side): number | undefined {
    const value = step[side];
    if (typeof value !== 'number') return undefined;
    const gain = value - (side === 'kept' ? (this.#plan.objective ?? 0) : this.#base);
    return gain > this.#noise() ? gain : 0;
  }

  #noise(): number {
    return NOISE * Math.max(1, Math.abs(this.#base));
  }
}

interface Gain {
  readonly size: number;
  readonly gain: number;
}
