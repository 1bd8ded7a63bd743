/**
 * What more or less of one budget is worth, by solving again: a price with the range in which it holds, never a bare dual.
 *
 * Every step is solved twice: with the placement kept, which is what a dual predicts, and with a new placement, which is
 * what the controller would do.
 */
import { boundName, boundValue, subjectOf, UNITS } from './bound-change.js';
import { moved, stepSizes } from './bound-steps.js';
import { type BoundStep, BoundTrial, type Slope } from './bound-trial.js';
import type { BoundOf } from './exact-parts.js';
import type { ConstraintGroup, PlacementPlan } from './plan.js';
import { priceText } from './price-text.js';
import type { PlacementProblem } from './problem.js';
import type { WhatIf } from './what-if.js';

export interface BudgetPrice {
  readonly group: ConstraintGroup;
  /** Id of the class, device or site; empty for the fleet. */
  readonly subject: string;
  readonly name: string;
  readonly unit: string;
  /** The bound as it is. */
  readonly value: number;
  /** Best known objective at the bound as it is. */
  readonly objective: number;
  /** With the placement kept. Null: looser buys nothing; absent: not solved for lack of time. */
  readonly kept?: Slope | null;
  /** With a new placement. */
  readonly best?: Slope | null;
  /** The loosest bound that was tried. */
  readonly triedTo: number;
  /** Dual value: at this placement, for small changes; null where there is none. */
  readonly dual: number | null;
  /** Tightest first. */
  readonly steps: readonly BoundStep[];
  /** For a person. */
  readonly text: string;
}

/** The price of one bound of a plan that has a placement. About ten solves; those that time does not allow are left out. */
export async function budgetPrice(
  problem: PlacementProblem,
  plan: PlacementPlan,
  bound: BoundOf,
  whatIf: WhatIf,
): Promise<BudgetPrice> {
  const { group } = bound;
  const value = boundValue(problem, bound);
  const trial = new BoundTrial(problem, plan, bound, whatIf);
  const looser = stepSizes(group, value, 'looser');
  // Whatever is tighter than what does not fit does not fit either.
  for (const size of stepSizes(group, value, 'tighter')) if ((await trial.step(-size)).best === null) break;
  for (const size of looser) await trial.step(size);
  const [kept, best] = [await trial.slope('kept'), await trial.slope('best')];
  const facts = {
    ...{ group, subject: subjectOf(problem, bound), name: boundName(problem, bound), unit: UNITS[group], value },
    objective: trial.base,
    ...(kept === undefined ? {} : { kept }),
    ...(best === undefined ? {} : { best }),
    triedTo: moved(group, value, looser.at(-1) ?? 0),
    dual: dualOf(plan.prices, bound),
    steps: trial.steps.toSorted((a, b) => a.size - b.size),
  };
  return { ...facts, text: priceText(facts) };
}

function dualOf({ power, latency, energy }: PlacementPlan['prices'], { group, index }: BoundOf): number | null {
  if (group === 'power') return power?.value ?? null;
  const byClass = group === 'latency' ? latency : group === 'energy' ? energy : undefined;
  return byClass?.[String(index)] ?? null;
}
