/**
 * The independent checker: recomputes the objective and every constraint of whatever a solver returned, from the
 * instance and the plan. It shares nothing with the models given to solvers but the reading of the instance (`arc-index.ts`,
 * `placement.ts`). A plan that does not pass is never called optimal.
 */
import { shortfalls, usesOf } from './constraints.js';
import { formFaults } from './form-faults.js';
import { objectiveOf, qualityCeiling } from './objective.js';
import { pairKey, type Placement } from './placement.js';
import type { ConstraintUse, PlacementPlan } from './plan.js';
import { type PlanUse, planUse } from './plan-use.js';
import type { PlacementProblem } from './problem.js';
import { boundColumns } from './bound-columns.js';
import { verifyBound } from './verify-bound.js';

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
  const use = planUse(problem, plan);
  const uses = usesOf(use);
  const broken = shortfalls(uses, VERIFY_TOLERANCE).map(
    (use) =>
      `${use.group}${use.subject === '' ? '' : ` of ${use.subject}`}: ${use.used} against ${use.limit} ${use.unit}`,
  );
  const faults = [...linkFaults(use), ...broken];
  return { ok: faults.length === 0, faults, objective: objectiveOf(problem, plan), uses };
}

/**
 * Checks a plan with its claims: the placement, the stated objective, bound and gap, and that its certificate proves the
 * bound (`believe`: that was done where it was made). A plan without placement has only its bound.
 */
export function verify(
  problem: PlacementProblem,
  plan: PlacementPlan,
  proof: 'recompute' | 'believe' = 'recompute',
): Verification {
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
    if (plan.certificate === undefined) faults.push('certificate: an optimal plan needs one');
  }
  if (plan.certificate !== undefined && proof === 'recompute') {
    const recomputed = verifyBound(boundColumns(problem, plan.certificate.pools), plan.certificate);
    faults.push(...recomputed.faults.map((fault) => `certificate: ${fault}`));
    // The ceiling needs no prices: no class is worth more than its best arc.
    if (
      !(
        Math.min(recomputed.bound, qualityCeiling(problem)) <=
        (bound ?? Infinity) + VERIFY_TOLERANCE * Math.max(1, Math.abs(bound ?? 0))
      )
    ) {
      faults.push(`certificate: it proves ${recomputed.bound}, the plan states the bound ${bound}`);
    }
  }
  return { ...result, ok: faults.length === 0, faults };
}

/** Copies only on devices that are on, requests only to copies and modes that are there, no more served than asked. */
function linkFaults({ problem, plan, flows, powered, modes, on }: PlanUse): string[] {
  const faults: string[] = [];
  const copies = new Map<number, number>();
  for (const [d, v, count] of plan.placement) {
    copies.set(pairKey(problem, d, v), count);
    const most = powered[d] ?? 0;
    if (count > most) faults.push(`util: ${count} copies of variant ${v} on ${most} powered devices of entry ${d}`);
  }
  const busy = new Map<number, number>();
  const served = new Float64Array(problem.classes.length);
  for (const { arc, rate } of flows) {
    const { d, v, k, m = 0 } = arc;
    const pair = pairKey(problem, d, v);
    busy.set(pair, (busy.get(pair) ?? 0) + arc.service_s * rate);
    served[k] = (served[k] ?? 0) + rate;
    if (rate > 0 && on[d * modes + m] === 0) {
      faults.push(`util: requests of class ${k} on device ${d}, none of which is on in mode ${m}`);
    }
  }
  for (const [pair, used] of busy) {
    const [d, v] = [Math.floor(pair / problem.variants.length), pair % problem.variants.length];
    const limit = (problem.devices[d]?.maxUtil ?? 0) * (copies.get(pair) ?? 0);
    if (used > limit + VERIFY_TOLERANCE * Math.max(1e-3, limit)) {
      faults.push(`util: variant ${v} on device ${d} is busy ${used} of ${limit}`);
    }
  }
  served.forEach((rate, k) => {
    const limit = problem.classes[k]?.rate ?? 0;
    if (rate > limit * (1 + VERIFY_TOLERANCE) + 1e-12) faults.push(`demand: class ${k} is served ${rate} of ${limit}`);
  });
  return faults;
}
