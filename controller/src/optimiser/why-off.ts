/**
 * Why a device is off: what its power is worth elsewhere against what it could earn, and the best plan with it on.
 */
import { arcIndexOf } from './arc-index.js';
import { shown } from './bound-change.js';
import { atMostOn, hosting } from './forced-copy.js';
import { powerUse } from './constraints.js';
import { countOf, keepsTail, modesOf } from './placement.js';
import { planUse } from './plan-use.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { earningsAt, type Earnings, type RowPrices } from './routing-prices.js';
import type { WhatIf } from './what-if.js';

export interface OffReason {
  readonly device: string;
  /** Of how many devices of this entry how many are on. */
  readonly on: number;
  readonly count: number;
  /** Idle power of one, in its most frugal mode, W. */
  readonly idleW: number;
  /** What the plan leaves of the power budget, W. */
  readonly spareW: number;
  /** At the plan's prices, the other placements kept; null where nothing may run there or there are no prices. */
  readonly atPrices: Earnings | null;
  /** Best plan found with one more on that hosts something; null where there is none, absent where it was not solved. */
  readonly forced?: number | null;
  /** What is proven of all such plans. */
  readonly forcedBound?: number | null;
  /** For a person. */
  readonly text: string;
}

/** The entries of which not all devices are on, by what they could add at the prices, most first. O(arcs). */
export function devicesOff(
  problem: PlacementProblem,
  plan: PlacementPlan,
  prices: RowPrices | undefined,
): { readonly d: number; readonly atPrices: Earnings | null }[] {
  const on = new Map(plan.poweredOn);
  const hosted = new Set(plan.placement.map(([, v]) => v));
  const isFull = hosted.size >= (problem.budgets.maxVariants ?? Infinity);
  const off = problem.devices.flatMap((_, d) => {
    if ((on.get(d) ?? 0) >= countOf(problem, d)) return [];
    const earnings = prices && earningsAt(problem, d, prices, (v) => !isFull || hosted.has(v));
    return [{ d, atPrices: earnings ?? null }];
  });
  const net = (each: Earnings | null) => (each === null ? -Infinity : each.earnsAtMost - each.cost);
  return off.toSorted((a, b) => net(b.atPrices) - net(a.atPrices) || a.d - b.d);
}

/** Solves with one more device of the entry on, where `isExact`; else what the prices say. */
export async function whyOff(
  problem: PlacementProblem,
  plan: PlacementPlan,
  { d, atPrices }: { readonly d: number; readonly atPrices: Earnings | null },
  { whatIf, isExact }: { readonly whatIf: WhatIf; readonly isExact: boolean },
): Promise<OffReason> {
  const device = problem.devices[d];
  const on = new Map(plan.poweredOn).get(d) ?? 0;
  const usable = arcIndexOf(problem)
    .of(d)
    .filter((arc) => keepsTail(problem, arc));
  const variants = [...new Set(usable.map(({ v }) => v))];
  const power = powerUse(planUse(problem, plan));
  const facts = {
    device: device?.id ?? '',
    ...{ on, count: countOf(problem, d), atPrices, spareW: Math.max(0, power.limit - power.used) },
    idleW: device === undefined ? 0 : Math.min(...modesOf(device).map(({ idleW }) => idleW)),
  };
  if (variants.length === 0) return { ...facts, text: `${subject(facts)}: no variant may run there.` };
  const outcome = isExact ? await whatIf.best(hosting(problem, d, variants, on + 1), { mayFail: true }) : undefined;
  const isKnown = outcome !== undefined && (outcome.objective !== null || outcome.status === 'infeasible');
  const solved = isKnown ? { ...facts, forced: outcome.objective, forcedBound: outcome.bound } : facts;
  return { ...solved, text: offText(solved, plan.objective ?? 0) };
}

export interface OnReason {
  readonly device: string;
  readonly on: number;
  /** Best plan found with one fewer on; null where there is none, absent where it was not solved. */
  readonly without?: number | null;
  /** For a person. */
  readonly text: string;
}

/** What a device that is on is good for: the best plan without it, or with one fewer of its pool. */
export async function whyOn(
  problem: PlacementProblem,
  plan: PlacementPlan,
  d: number,
  whatIf: WhatIf,
): Promise<OnReason> {
  const on = new Map(plan.poweredOn).get(d) ?? 0;
  const outcome = await whatIf.best(atMostOn(problem, d, Math.max(0, on - 1)), { mayFail: true });
  const device = problem.devices[d]?.id ?? '';
  const count = countOf(problem, d);
  const [is, who] =
    count === 1 ? [`${device} is on`, 'without it'] : [`${on} of ${count} ${device} are on`, 'with one fewer'];
  const isKnown = outcome !== undefined && (outcome.objective !== null || outcome.status === 'infeasible');
  if (!isKnown) return { device, on, text: `${is}: not solved for lack of time.` };
  const without = outcome.objective;
  return { device, on, without, text: `${is}: ${comparedText(without, plan.objective ?? 0, who)}.` };
}

type Facts = Omit<OffReason, 'text'>;

const subject = ({ device, on, count }: Facts): string =>
  count === 1 ? `${device} is off` : `${on} of ${count} ${device} are on`;

/** `pi-2 is off: on, it would take 3.2 W, which is worth 1.8 points, and earn at most 1.1 points at today's prices; ...` */
function offText(facts: Facts, objective: number): string {
  const parts = [pricedPart(facts), forcedPart(facts, objective)].filter((part) => part !== undefined);
  return `${subject(facts)}: ${parts.length === 0 ? 'not priced for lack of time' : parts.join('; ')}.`;
}

function pricedPart({ atPrices, count, idleW, spareW }: Facts): string | undefined {
  if (atPrices === null) return undefined;
  const { cost, earnsAtMost } = atPrices;
  const who = count === 1 ? 'on, it' : 'one more';
  const takes = `${who} would take ${shown(cost > 0 ? atPrices.idleW : idleW)} W`;
  const isIdle = earnsAtMost < 1e-4;
  if (cost < 1e-4) {
    const isToSpare = idleW <= spareW + 1e-6 * Math.max(1, idleW);
    const room = isToSpare ? 'which are to spare' : `of which ${shown(Math.round(spareW * 1e4) / 1e4)} W are to spare`;
    return `${takes}, ${room}, and ${isIdle ? 'could serve nothing better than it is' : `earn at most ${shown(earnsAtMost)} points at today's prices, were there room for all it needs`}`;
  }
  const earns = isIdle ? 'nothing' : `at most ${shown(earnsAtMost)} points`;
  const less = cost - earnsAtMost;
  const verdict =
    less > 0 ? `${shown(less)} less than that power is worth elsewhere` : 'were there room for all it needs';
  return `${takes} of the power budget and at today's prices earn ${earns}, ${verdict}`;
}

function forcedPart({ forced, count }: Facts, objective: number): string | undefined {
  return forced === undefined
    ? undefined
    : comparedText(forced, objective, count === 1 ? 'with it on' : 'with one more on');
}

function comparedText(found: number | null, objective: number, who: string): string {
  if (found === null) return `no plan ${who} meets all bounds`;
  const loss = objective - found;
  if (Math.abs(loss) <= 4e-6 * Math.max(1, Math.abs(objective))) return `the best plan ${who} is as good`;
  return `the best plan ${who} is ${shown(Math.abs(loss))} points ${loss > 0 ? 'worse' : 'better: this plan was not the best'}`;
}
