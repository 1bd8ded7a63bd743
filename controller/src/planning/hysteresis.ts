import type { PlacementPlan } from '../optimiser/plan.js';
import { constraintUses } from '../optimiser/constraints.js';
import { movedGiB } from '../optimiser/objective.js';
import type { PlacementProblem } from '../optimiser/problem.js';

/** Points (of 1000) below which a better plan is not worth moving for: measured qualities carry about 1 % noise. */
const LEAST_GAIN = 5;
/**
 * Points that newly loading one GiB has to earn on a fleet of one device: a device that loads (2.7 s a GiB at 400 MB/s) does
 * nothing else for that part of a plan's quarter of an hour. Of more devices it is so much less of the fleet.
 */
const POINTS_PER_GIB = 3;
/** Share of the fleet's power whose saving is worth a move at equal quality. */
const WORTHWHILE_SAVING = 0.1;

/**
 * Whether a new plan is worth moving for, against the old placement routed as well as it can be under the same problem.
 * The gain has to exceed what noise, the certified gap and the move itself may cost.
 */
export function isWorthMoving(problem: PlacementProblem, old: PlacementPlan, fresh: PlacementPlan): boolean {
  if (old.objective === null) return true;
  if (fresh.objective === null) return false;
  const gain = fresh.objective - old.objective;
  const uncertainty = (fresh.gap ?? 0) * Math.max(1, Math.abs(fresh.objective));
  const devices = problem.devices.reduce((total, { count = 1 }) => total + count, 0);
  const moveCost = (POINTS_PER_GIB * movedGiB(problem, fresh.placement)) / Math.max(1, devices);
  if (gain >= Math.max(LEAST_GAIN, uncertainty, moveCost)) return true;
  const saved = 1 - powerOf(problem, fresh) / Math.max(1e-9, powerOf(problem, old));
  return gain >= -0.1 && saved >= WORTHWHILE_SAVING;
}

function powerOf(problem: PlacementProblem, plan: PlacementPlan): number {
  return constraintUses(problem, plan).find(({ group }) => group === 'power')?.used ?? 0;
}

/** The same copies under another problem's indices; what its devices and variants no longer include is left out. */
export function transfer(
  from: { readonly problem: PlacementProblem; readonly solution: PlacementPlan },
  to: PlacementProblem,
): Pick<PlacementPlan, 'placement' | 'poweredOn'> & { readonly isComplete: boolean } {
  const devices = new Map(to.devices.map(({ id }, d) => [id, d]));
  const variants = new Map(to.variants.map(({ id }, v) => [id, v]));
  const placement = from.solution.placement.flatMap(([d, v, copies]) => {
    const device = devices.get(from.problem.devices[d]?.id ?? '');
    const variant = variants.get(from.problem.variants[v]?.id ?? '');
    return device === undefined || variant === undefined ? [] : [[device, variant, copies] as const];
  });
  const on = from.solution.poweredOn.flatMap(([d, count]) => {
    const device = devices.get(from.problem.devices[d]?.id ?? '');
    return device === undefined ? [] : [[device, count] as const];
  });
  const isComplete =
    placement.length === from.solution.placement.length && on.length === from.solution.poweredOn.length;
  return { placement, poweredOn: on, isComplete };
}
