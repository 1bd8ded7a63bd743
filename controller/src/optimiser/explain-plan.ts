/**
 * Everything about a plan that needs solving again, within a time limit: prices with their ranges, why devices are off, the
 * nearest swaps, and trade-off curves.
 */
import type { Clock } from '@fleetgate/shared/clock';
import { elapsed } from '@fleetgate/shared/units/quantity';

import { bindingBounds } from './bound-steps.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { type BudgetPrice, budgetPrice } from './sensitivity.js';
import type { Solvers } from './solver.js';
import { nearestSwaps, type Swap, type SwapRegret, swapRegret } from './swap-regret.js';
import { type Curve, type CurveKind, tradeOff } from './trade-off.js';
import { verifyPlacement } from './verify.js';
import { WhatIf } from './what-if.js';
import { devicesOff, type OffReason, type OnReason, whyOff, whyOn } from './why-off.js';

export interface ExplainQuestion {
  /** Prices of what binds, why devices are off, the nearest swaps. */
  readonly overview?: boolean;
  readonly curve?: CurveKind;
  readonly swap?: Swap;
  /** Why this entry of devices is off, or what it is on for. */
  readonly device?: number;
}

export interface PlanExplanation {
  readonly prices?: readonly BudgetPrice[];
  readonly off?: readonly OffReason[];
  /** The nearest calls first. */
  readonly swaps?: readonly SwapRegret[];
  readonly curve?: Curve;
  readonly swap?: SwapRegret;
  readonly device?: OffReason | OnReason;
  readonly seconds: number;
}

export interface ExplainParts {
  readonly solvers: Solvers;
  readonly clock: Clock;
  /** For the whole answer. */
  readonly timeLimitS: number;
}

/** A person reads no more of each. */
const MOST_PRICES = 12;
const MOST_OFF = 20;
const MOST_SWAPS = 5;
/** Of the devices that are off so many are solved; of the others the prices tell. */
const MOST_SOLVED_OFF = 6;
/** Questions that must have their turn within the time. */
const LEAST_QUESTIONS = 20;

/** Answers as far as the time goes; nothing at all of a plan without placement, but its curve. */
export async function explainPlan(
  problem: PlacementProblem,
  plan: PlacementPlan,
  question: ExplainQuestion,
  parts: ExplainParts,
): Promise<PlanExplanation> {
  const started = parts.clock.now();
  const seconds = () => elapsed(started, parts.clock.now()) / 1000;
  /** A share of what time is left. */
  const within = (share: number) => {
    const timeLimitS = share * Math.max(0, parts.timeLimitS - seconds());
    const { solvers, clock } = parts;
    return new WhatIf({ solvers, clock, timeLimitS, stepLimitS: Math.max(0.5, parts.timeLimitS / LEAST_QUESTIONS) });
  };
  const hasPlacement = plan.objective !== null;
  const { curve, swap, device } = question;
  return {
    ...(swap === undefined || !hasPlacement ? {} : { swap: await swapRegret(problem, plan, swap, within(0.5)) }),
    ...(device === undefined || !hasPlacement
      ? {}
      : { device: await deviceReason(problem, plan, device, within(0.5)) }),
    ...(curve === undefined
      ? {}
      : { curve: await tradeOff(problem, curve, within(question.overview ? 0.5 : 1), { present: plan }) }),
    ...(question.overview === true && hasPlacement
      ? {
          prices: await pricesOf(problem, plan, within(0.5)),
          off: await reasonsOff(problem, plan, within(0.5)),
          swaps: await swapsOf(problem, plan, within(1)),
        }
      : {}),
    seconds: seconds(),
  };
}

async function pricesOf(problem: PlacementProblem, plan: PlacementPlan, whatIf: WhatIf): Promise<BudgetPrice[]> {
  const prices: BudgetPrice[] = [];
  const bounds = bindingBounds(problem, plan, verifyPlacement(problem, plan).uses);
  for (const bound of bounds.slice(0, MOST_PRICES)) prices.push(await budgetPrice(problem, plan, bound, whatIf));
  return prices;
}

async function reasonsOff(problem: PlacementProblem, plan: PlacementPlan, whatIf: WhatIf): Promise<OffReason[]> {
  const off = devicesOff(problem, plan, await whatIf.rowPrices(problem, plan)).slice(0, MOST_OFF);
  const reasons: OffReason[] = [];
  for (const [i, each] of off.entries()) {
    reasons.push(await whyOff(problem, plan, each, { whatIf, isExact: i < MOST_SOLVED_OFF }));
  }
  return reasons;
}

async function swapsOf(problem: PlacementProblem, plan: PlacementPlan, whatIf: WhatIf): Promise<SwapRegret[]> {
  const swaps: SwapRegret[] = [];
  for (const swap of (await nearestSwaps(problem, plan, whatIf)).slice(0, MOST_SWAPS)) {
    swaps.push(await swapRegret(problem, plan, swap, whatIf));
  }
  return swaps.toSorted((a, b) => (a.regret ?? Infinity) - (b.regret ?? Infinity));
}

async function deviceReason(
  problem: PlacementProblem,
  plan: PlacementPlan,
  d: number,
  whatIf: WhatIf,
): Promise<OffReason | OnReason> {
  const off = devicesOff(problem, plan, await whatIf.rowPrices(problem, plan)).find((each) => each.d === d);
  if (off === undefined) return whyOn(problem, plan, d, whatIf);
  return whyOff(problem, plan, off, { whatIf, isExact: true });
}
