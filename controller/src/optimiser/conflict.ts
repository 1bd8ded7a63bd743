import { buildExactModel } from './exact-model.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { LinearSolver, SolverLimits } from './solver.js';

/**
 * Groups in the order in which the search tries to do without them: what a person can least change goes first, so that
 * of several irreducible conflicts the one in the operator's own terms is left. `util` is physics and not listed.
 */
const DISPENSABLE: readonly ConstraintGroup[] = [
  'slots',
  'devpower',
  'battery',
  'memory',
  'network',
  'variants',
  'energy',
  'move',
  'replicas',
  'sitepower',
  'tail',
  'latency',
  'power',
  'demand',
];

export interface Conflict {
  /** Groups that cannot hold together. */
  readonly groups: readonly ConstraintGroup[];
  /** Whether dropping any one of them was shown to make the problem feasible; false when a check ran out of time. */
  readonly isIrreducible: boolean;
}

/**
 * An irreducible set of groups that cannot hold together, by a deletion filter: every group without which the rest is
 * still infeasible is left out for good. At most one feasibility problem per group. Assumes an infeasible problem.
 */
export async function findConflict(
  problem: PlacementProblem,
  solver: LinearSolver,
  limits: SolverLimits,
): Promise<Conflict> {
  const dropped = new Set<ConstraintGroup>();
  let isIrreducible = true;
  for (const group of DISPENSABLE) {
    const without = new Set(dropped).add(group);
    const { program } = buildExactModel(problem, { without, elastic: new Set() });
    const answer = await solver.solve(program, limits);
    if (answer.status === 'infeasible') dropped.add(group);
    else if (answer.status === 'timeout' || answer.status === 'failed') isIrreducible = false;
  }
  return { groups: DISPENSABLE.filter((group) => !dropped.has(group)).toReversed(), isIrreducible };
}
