import { changeText, relaxationOf } from './bound-change.js';
import { findConflict } from './conflict.js';
import { GuardedSolver } from './guarded-solver.js';
import type { PlacementPlan, Relaxation } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { findRepair } from './repair.js';
import type { SolverLimits, Solvers } from './solver.js';

/** Which groups cannot hold together, what each alone would have to give, and both in sentences. Assumes an infeasible problem. */
export async function explainInfeasible(
  problem: PlacementProblem,
  solvers: Solvers,
  limits: SolverLimits,
): Promise<Pick<PlacementPlan, 'conflict' | 'relaxations' | 'explanation'>> {
  const conflict = await findConflict(problem, solvers.exact, limits);
  const solver = new GuardedSolver(solvers);
  const relaxations: Relaxation[] = [];
  for (const group of conflict.groups) {
    const repair = await findRepair(problem, new Set([group]), solver, limits);
    if (repair !== undefined && repair.changes.length > 0) relaxations.push(relaxationOf(problem, group, repair));
  }
  const proof = conflict.isIrreducible ? ': without any one of them the others could be met' : '';
  const together = conflict.groups.length > 1 ? ` together${proof}` : '';
  const explanation = [
    `No placement meets the bounds on ${listed(conflict.groups)}${together}.`,
    ...relaxations.map(({ text }) => `It would do to change: ${text}.`),
  ];
  if (relaxations.length === 0) {
    const joint = await findRepair(problem, new Set(conflict.groups), solver, limits);
    const texts = joint?.changes.map((change) => changeText(problem, change)) ?? [];
    if (texts.length > 0) explanation.push(`No single bound is enough; together: ${texts.join(', ')}.`);
  }
  if (problem.arcs.length === 0) explanation.push('No device can host any of the variants for any class.');
  return { conflict: conflict.groups, relaxations, explanation };
}

const listed = (groups: readonly string[]): string =>
  groups.length < 2 ? groups.join('') : `${groups.slice(0, -1).join(', ')} and ${groups.at(-1)}`;
