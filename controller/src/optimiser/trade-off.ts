/**
 * How good the best plan is at every size of a budget: quality against the fleet's watts, or against the latency bounds.
 */
import { shown } from './bound-change.js';
import { type CurveAxis, latencyAxis, powerAxis } from './curve-axis.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { WhatIf } from './what-if.js';

/** `power`: of the whole fleet, W. `latency`: a factor on the mean latency that every class allows. */
export type CurveKind = 'power' | 'latency';

export interface CurvePoint {
  readonly value: number;
  /** Of the best plan found, 0..1000. */
  readonly objective: number;
  /** No plan with this budget is better. */
  readonly bound: number | null;
  readonly status: PlacementPlan['status'];
}

export interface Curve {
  readonly of: CurveKind;
  readonly unit: CurveAxis['unit'];
  /** The budget as it is. */
  readonly now: number;
  /**
   * Ascending, from the least at which some plan fits (from the budget as it is, where there was no time to find that) to
   * where more buys nothing. Empty when no plan was found.
   */
  readonly points: readonly CurvePoint[];
  /** How many points there was no time for. */
  readonly missing: number;
  /** For a person. */
  readonly text: string;
}

/** Evenly spaced points beside the budget as it is. */
export const CURVE_POINTS = 9;

interface CurveOptions {
  readonly points?: number;
  /** The plan of the budget as it is, which need not be solved again. */
  readonly present?: Pick<PlacementPlan, 'objective' | 'bound' | 'status'>;
}

/** The curve of a problem, coarse first, so that a curve cut short by the deadline still reaches from end to end. */
export async function tradeOff(
  problem: PlacementProblem,
  of: CurveKind,
  whatIf: WhatIf,
  { points = CURVE_POINTS, present }: CurveOptions = {},
): Promise<Curve> {
  const axis = of === 'power' ? powerAxis(problem) : latencyAxis(problem);
  const frame = { of, unit: axis.unit, now: axis.now };
  const top = await whatIf.best(axis.at(axis.ample), { mayFail: true, isPatient: true, tieBreak: 'least-power' });
  if (top === undefined || top.objective === null) {
    const why = top?.status === 'infeasible' ? `no plan fits, however much ${of} is allowed` : 'no time for a plan';
    return { ...frame, points: [], missing: points, text: `Quality against ${of}: ${why}.` };
  }
  // A little more than the plan needs, so that it still fits whatever the rounding.
  const most = axis.need(top) * (1 + 1e-7) + 1e-9;
  const found: CurvePoint[] = [{ value: most, objective: top.objective, bound: top.bound, status: top.status }];
  const { objective = null, bound = null, status = 'timeout' } = present ?? {};
  const isKnown = objective !== null && axis.now < most;
  if (isKnown) found.push({ value: axis.now, objective, bound, status });
  const least = await axis.least(most, whatIf);
  const values = between(least ?? Math.min(axis.now, most), most, axis.now, points);
  for (const value of values) {
    if (isKnown && value === axis.now) continue;
    const plan = await whatIf.best(axis.at(value));
    if (plan === undefined) break;
    // A plan that was found is worth a point; that none was found in time is not.
    if (plan.objective === null) continue;
    found.push({ value, objective: plan.objective, bound: plan.bound, status: plan.status });
  }
  const curve = { ...frame, points: monotone(found), missing: Math.max(0, values.length + 1 - found.length) };
  return { ...curve, text: curveText(curve, least !== undefined) };
}

/** Values from least to most without the last, and the budget as it is: the ends first, then halves, quarters, eighths. */
function between(least: number, most: number, now: number, points: number): number[] {
  if (!(least < most)) return [];
  const steps = Math.max(1, points - 1);
  const coarseness = (i: number) => (i === 0 ? Infinity : i & -i);
  const order = Array.from({ length: steps }, (_, i) => i).toSorted((a, b) => coarseness(b) - coarseness(a) || a - b);
  const values = order.map((i) => least + ((most - least) * i) / steps);
  const isApart = now > least && now < most && values.every((value) => Math.abs(value - now) > 1e-6 * most);
  return isApart ? [...values.slice(0, 1), now, ...values.slice(1)] : values;
}

/** More is never worse, and never better than what more still is proven not to reach: plans and proofs serve neighbours. */
function monotone(found: readonly CurvePoint[]): CurvePoint[] {
  const points = found.toSorted((a, b) => a.value - b.value);
  let objective = -Infinity;
  const raised = points.map((point) => {
    objective = Math.max(objective, point.objective);
    return { ...point, objective };
  });
  let bound = Infinity;
  return raised
    .toReversed()
    .map((point) => {
      bound = Math.min(bound, point.bound ?? Infinity);
      return { ...point, bound: bound === Infinity ? null : Math.max(bound, point.objective) };
    })
    .toReversed();
}

/** A share of the objective that plans differ by without being told apart. */
const SAME = 4e-6;

/** `Quality against power: 512 at 9.3 W, the least at which a plan fits; 700 at 12 W, as now; 736.4 from 21 W on.` */
export function curveText({ of, unit, now, points, missing }: Omit<Curve, 'text'>, isLeast: boolean): string {
  const [first, last] = [points[0], points.at(-1)];
  const at = (value: number) => (unit === 'W' ? `${shown(value)} W` : `${shown(value)} times the latency bounds`);
  if (first === undefined || last === undefined) return `Quality against ${of}: no plan fits.`;
  const flat = points.find(({ objective }) => objective >= last.objective * (1 - SAME)) ?? last;
  const parts = [];
  if (flat !== first) {
    const end = isLeast ? ', the least at which a plan fits' : '';
    parts.push(`${shown(first.objective)} at ${at(first.value)}${end}`);
  }
  const present = points.findLast(({ value }) => value <= now * (1 + 1e-9));
  if (present !== undefined && now < flat.value) parts.push(`${shown(present.objective)} at ${at(now)}, as now`);
  const room = (last.bound ?? Infinity) - flat.objective;
  const isProven = room <= 2 * SAME * Math.max(1, Math.abs(flat.objective));
  const more = isProven
    ? 'where more buys nothing'
    : `where more buys ${room < Infinity ? `at most ${shown(room)} points` : 'nothing that was found'}`;
  parts.push(`${shown(flat.objective)} from ${at(flat.value)} on, ${more}`);
  if (missing > 0)
    parts.push(`${missing} of the budgets in between ${missing === 1 ? 'was' : 'were'} not solved for lack of time`);
  return `Quality against ${of}: ${parts.join('; ')}.`;
}
