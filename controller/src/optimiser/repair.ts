import type { Repair } from './bound-change.js';
import { leastMoves } from './least-moves.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { LinearSolver, SolverLimits } from './solver.js';
import { repairTail } from './tail-repair.js';

/**
 * The least moves of the bounds of `groups` that make an infeasible problem feasible: for one group alone, how far its
 * bounds have to move; for several, together, where no group alone is enough. Undefined when there are none or time ran
 * out. Bounds on the 95th percentile move only as far as the others can not do without it; those of a `dear` group only
 * where the others would have to move ten times as far.
 */
export async function findRepair(
  problem: PlacementProblem,
  groups: ReadonlySet<ConstraintGroup>,
  solver: LinearSolver,
  limits: SolverLimits,
  dear?: ConstraintGroup,
): Promise<Repair | undefined> {
  const more = dear === undefined ? {} : { dear };
  if (!groups.has('tail')) return leastMoves({ problem, groups, ...more }, solver, limits);
  const others = new Set([...groups].filter((group) => group !== 'tail'));
  return repairTail({ problem, groups: others, ...more }, solver, limits);
}
