/**
 * The independent checker: recomputes the objective and every constraint of whatever a solver returned, from the
 * instance and the plan. It shares no code with the models given to solvers. A plan that does not pass is never called
 * optimal.
 */
import { arcIndexOf } from './arc-index.js';
import { constraintUses, planUse, shortfalls } from './constraints.js';
import { objectiveOf } from './objective.js';
import { countOf, type Placement } from './placement.js';
import type { ConstraintUse, PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';

/** Relative; far above the solver's 1e-9, far below what a fleet can measure. */
export const VERIFY_TOLERANCE = 1e-6;

export interface Verification {
  readonly ok: boolean;
  /** What does not hold, in words; empty when `ok`. */
  readonly faults: readonly string[];
  /** Recomputed. */
  readonly objective: number;
  readonly uses: readonly ConstraintUse[];
}

/** Checks the placement itself: form, links between copies, power and routing, and every bound. */
export function verifyPlacement(problem: PlacementProblem, plan: Placement): Verification {
  const form = formFaults(problem, plan);
  if (form.length > 0) return { ok: false, faults: form, objective: 0, uses: [] };
  const uses = constraintUses(problem, plan);
  const broken = shortfalls(uses, VERIFY_TOLERANCE).map(
    (use) =>
      `${use.group}${use.subject === '' ? '' : ` of ${use.subject}`}: ${use.used} against ${use.limit} ${use.unit}`,
  );
  const faults = [...linkFaults(problem, plan), ...broken];
  return { ok: faults.length === 0, faults, objective: objectiveOf(problem, plan), uses };
}

/** Checks a plan with its claims: the placement, the stated objective, bound and gap. A plan without placement has only its bound. */
export function verify(problem: PlacementProblem, plan: PlacementPlan): Verification {
  if (plan.objective === null) return { ok: plan.status !== 'optimal', faults: [], objective: 0, uses: [] };
  const result = verifyPlacement(problem, plan);
  const faults = [...result.faults];
  const near = (a: number, b: number) => Math.abs(a - b) <= VERIFY_TOLERANCE * Math.max(1, Math.abs(b));
  if (!near(plan.objective, result.objective)) {
    faults.push(`objective: stated ${plan.objective}, recomputed ${result.objective}`);
  }
  const bound = plan.bound;
  if (bound !== null && bound < result.objective - VERIFY_TOLERANCE * Math.max(1, Math.abs(result.objective))) {
    faults.push(`bound: ${bound} is below the objective ${result.objective}`);
  }
  if (plan.status === 'optimal') {
    const gap = bound === null ? Infinity : (bound - result.objective) / Math.max(1, Math.abs(result.objective));
    if (!(gap <= 2 * VERIFY_TOLERANCE)) faults.push(`gap: ${gap} is too large for an optimal plan`);
  }
  return { ...result, ok: faults.length === 0, faults };
}

/** Indices that exist, whole and non-negative counts, no entry twice. */
function formFaults(problem: PlacementProblem, plan: Placement): string[] {
  const faults: string[] = [];
  const arcs = arcIndexOf(problem);
  const seen = new Set<string>();
  const once = (entry: string) => {
    if (seen.has(entry)) faults.push(`${entry} is given twice`);
    seen.add(entry);
  };
  const whole = (value: number, entry: string) => {
    if (!Number.isInteger(value) || value < 0) faults.push(`${entry}: ${value} is not a count`);
  };
  for (const [d, v, copies] of plan.placement) {
    const entry = `placement of variant ${v} on device ${d}`;
    if (problem.devices[d] === undefined || problem.variants[v] === undefined) faults.push(`${entry}: unknown`);
    once(entry);
    whole(copies, entry);
  }
  for (const [d, on] of plan.poweredOn) {
    const entry = `power of device ${d}`;
    if (problem.devices[d] === undefined) faults.push(`${entry}: unknown`);
    once(entry);
    whole(on, entry);
    if (on > countOf(problem, d)) faults.push(`${entry}: ${on} of ${countOf(problem, d)} are on`);
  }
  for (const { k, d, v, m, rate } of plan.routing) {
    const entry = `routing of class ${k} to variant ${v} on device ${d}`;
    if (arcs.find(d, v, k, m) === undefined) faults.push(`${entry}: not allowed`);
    once(entry);
    if (!(rate >= 0) || rate === Infinity) faults.push(`${entry}: ${rate} is not a rate`);
  }
  return faults;
}

/** Copies only on devices that are on, requests only to copies, no more served than asked. */
function linkFaults(problem: PlacementProblem, plan: Placement): string[] {
  const faults: string[] = [];
  const { flows, copies, powered } = planUse(problem, plan);
  for (const [d, v, count] of plan.placement) {
    const on = powered.get(d) ?? 0;
    if (count > on) faults.push(`util: ${count} copies of variant ${v} on ${on} powered devices of entry ${d}`);
  }
  const busy = new Map<string, { d: number; v: number; busy: number }>();
  const served = new Map<number, number>();
  for (const flow of flows) {
    const pair = `${flow.d},${flow.v}`;
    const sofar = busy.get(pair) ?? { d: flow.d, v: flow.v, busy: 0 };
    busy.set(pair, { ...sofar, busy: sofar.busy + flow.service_s * flow.rate });
    served.set(flow.k, (served.get(flow.k) ?? 0) + flow.rate);
  }
  for (const { d, v, busy: used } of busy.values()) {
    const limit = (problem.devices[d]?.maxUtil ?? 0) * (copies.get(d)?.get(v) ?? 0);
    if (used > limit + VERIFY_TOLERANCE * Math.max(1e-3, limit)) {
      faults.push(`util: variant ${v} on device ${d} is busy ${used} of ${limit}`);
    }
  }
  for (const [k, rate] of served) {
    const limit = problem.classes[k]?.rate ?? 0;
    if (rate > limit * (1 + VERIFY_TOLERANCE) + 1e-12) faults.push(`demand: class ${k} is served ${rate} of ${limit}`);
  }
  return faults;
}
