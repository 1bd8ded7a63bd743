/**
 * What a plan uses of each bound: one named function per constraint group, from the problem and the plan alone.
 *
 * A use is expressed in the unit a person set the bound in (a mean latency, not the row of the linear program), so that
 * the same figures serve the checker, the dashboard and the explanation. A bound from below (demand, replicas) has
 * `used >= limit`. Nothing here is shared with the models given to solvers. Bounds of classes are in `class-uses.ts`,
 * of devices and sites in `device-uses.ts`, of the fleet here.
 */
import { demandUses, energyUses, latencyUses, replicaUses, tailUses } from './class-uses.js';
import {
  batteryUses,
  devicePowerUses,
  memoryUses,
  modeUses,
  networkUses,
  sitePowerUses,
  slotUses,
  utilUses,
} from './device-uses.js';
import { movedGiB } from './objective.js';
import type { Placement } from './placement.js';
import type { ConstraintGroup, ConstraintUse } from './plan.js';
import { drawW, type PlanUse, planUse, sumOf } from './plan-use.js';
import type { PlacementProblem } from './problem.js';

/** Mean power of the whole fleet: what is drawn anyway, idle of what is on, and the energy of the requests. */
export function powerUse(use: PlanUse): ConstraintUse {
  const { budgets } = use.problem;
  const used = (budgets.baseW ?? 0) + sumOf(use.problem.devices.keys(), (d) => drawW(use, d));
  return { group: 'power', subject: '', used, limit: budgets.powerW, unit: 'W' };
}

/** Distinct variants hosted anywhere. */
export function variantUses({ problem, plan }: PlanUse): ConstraintUse[] {
  if (problem.budgets.maxVariants === null) return [];
  const used = new Set(plan.placement.filter(([, , count]) => count > 0).map(([, v]) => v)).size;
  return [{ group: 'variants', subject: '', used, limit: problem.budgets.maxVariants, unit: 'variants' }];
}

/** Newly loaded memory. */
export function moveUses({ problem, plan }: PlanUse): ConstraintUse[] {
  if (problem.budgets.moveGiB === null) return [];
  const used = movedGiB(problem, plan.placement);
  return [{ group: 'move', subject: '', used, limit: problem.budgets.moveGiB, unit: 'GiB' }];
}

/** Bounds from below: the plan must use at least the limit. */
const FLOORS: ReadonlySet<ConstraintGroup> = new Set(['demand', 'replicas']);

export const isFloor = (group: ConstraintGroup): boolean => FLOORS.has(group);

/** By how much a use breaks its bound; 0 or less when it holds. */
export const excess = (use: ConstraintUse): number =>
  isFloor(use.group) ? use.limit - use.used : use.used - use.limit;

/** Every bound of the problem with what the plan uses of it. O(plan + devices + classes * copies). */
export function constraintUses(problem: PlacementProblem, plan: Placement): ConstraintUse[] {
  return usesOf(planUse(problem, plan));
}

/** The same of a plan that is already joined to its arcs. */
export function usesOf(use: PlanUse): ConstraintUse[] {
  const modes = modeUses(use);
  return [
    [powerUse(use)],
    demandUses(use),
    latencyUses(use),
    tailUses(use),
    energyUses(use),
    utilUses(modes),
    memoryUses(use),
    slotUses(use),
    devicePowerUses(modes),
    batteryUses(use.problem, modes),
    sitePowerUses(use),
    networkUses(use),
    replicaUses(use),
    variantUses(use),
    moveUses(use),
  ].flat();
}

/** The uses that break their bound by more than `tolerance` relative to it. */
export function shortfalls(uses: readonly ConstraintUse[], tolerance: number): ConstraintUse[] {
  return uses.filter((use) => excess(use) > tolerance * Math.max(1e-3, Math.abs(use.limit)));
}
