import { buildExactModel } from './exact-model.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';
import { type Realised, realise } from './realise.js';
import type { LinearEngine, SolverLimits, Solvers } from './solver.js';

/** What the mixed-integer solver finds on the exact model of the pools; what it claims to have proven goes into `notes`. */
export async function milpPlacement(
  problem: PlacementProblem,
  pooling: Pooling,
  engine: LinearEngine,
  { exact }: Solvers,
  limits: SolverLimits,
  notes: string[],
): Promise<Realised | undefined> {
  const model = buildExactModel(pooling.problem);
  const answer = await exact.solve(model.program, limits);
  if (answer.status === 'failed') notes.push(`The mixed-integer solver gave no answer (${answer.reason}).`);
  if (answer.status !== 'optimal' && answer.status !== 'feasible') return undefined;
  notes.push(`${exact.name} found ${answer.objective} and says that nothing is above ${answer.bound}.`);
  return realise(problem, pooling, engine, model.read(answer.point));
}
