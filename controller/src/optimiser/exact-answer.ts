import { buildExactModel } from './exact-model.js';
import { powerProgram } from './least-power.js';
import type { Placement } from './placement.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { LinearSolver, SolverLimits } from './solver.js';
import { verifyPlacement } from './verify.js';

/** What became of a changed problem. */
export type Outcome = Pick<PlacementPlan, 'status' | 'objective' | 'bound' | keyof Placement>;

export const INFEASIBLE: Outcome = {
  status: 'infeasible',
  objective: null,
  bound: null,
  placement: [],
  poweredOn: [],
  routing: [],
};

/** Of programs up to so many columns a mixed-integer solver makes short work: 0.05 s for the reference instances. */
const MOST_COLUMNS = 2000;

/**
 * The answer of the mixed-integer solver to a small problem: its placement is checked, its bound is its word. Undefined
 * where the program is large, or the answer does not hold.
 */
export async function exactAnswer(
  problem: PlacementProblem,
  solver: LinearSolver,
  limits: SolverLimits,
  tieBreak?: 'least-power',
): Promise<Outcome | undefined> {
  const model = buildExactModel(problem);
  if (model.program.cost.length > MOST_COLUMNS) return undefined;
  const answer = await solver.solve(model.program, limits);
  if (answer.status === 'infeasible') return INFEASIBLE;
  if (answer.status !== 'optimal' && answer.status !== 'feasible') return undefined;
  const frugal =
    tieBreak === undefined ? answer : await solver.solve(powerProgram(problem, model, answer.objective), limits);
  const isFrugal = frugal.status === 'optimal' || frugal.status === 'feasible';
  const placement = model.read(isFrugal ? frugal.point : answer.point);
  const { ok, objective } = verifyPlacement(problem, placement);
  if (!ok) return undefined;
  return { ...placement, status: answer.status, objective, bound: Math.max(answer.bound, objective) };
}
