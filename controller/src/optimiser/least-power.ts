import { buildExactModel, type ExactModel } from './exact-model.js';
import type { LinearProgram } from './linear-program.js';
import { modesOf } from './placement.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';
import { type Realised, realise } from './realise.js';
import type { LinearEngine, LinearSolver } from './solver.js';
import { VERIFY_TOLERANCE } from './verify.js';

/** Programs with more columns are not solved a second time. */
const MOST_COLUMNS = 3000;

/** Among placements as good as `best` (to a millionth), one that draws less power; `best` when none is found in time. */
export async function leastPower(
  problem: PlacementProblem,
  pooling: Pooling,
  engine: LinearEngine,
  solver: LinearSolver,
  best: Realised,
  timeLimitS: number,
): Promise<Realised> {
  const { objective } = best.check;
  const model = buildExactModel(pooling.problem);
  if (model.program.cost.length > MOST_COLUMNS || timeLimitS <= 0) return best;
  const program = powerProgram(pooling.problem, model, objective);
  const answer = await solver.solve(program, { timeLimitS, gap: 1e-3 });
  if (answer.status !== 'optimal' && answer.status !== 'feasible') return best;
  const frugal = realise(problem, pooling, engine, model.read(answer.point));
  if (frugal === undefined) return best;
  const isAsGood = frugal.check.objective >= objective - VERIFY_TOLERANCE * Math.max(1, Math.abs(objective));
  return isAsGood && powerOf(frugal) < powerOf(best) ? frugal : best;
}

const powerOf = ({ check }: Realised): number => check.uses.find(({ group }) => group === 'power')?.used ?? Infinity;

/** The same program, minimising the fleet's power, with the objective turned into a floor. */
export function powerProgram(problem: PlacementProblem, model: ExactModel, objective: number): LinearProgram {
  const { program } = model;
  const gainful: number[] = [];
  program.cost.forEach((cost, j) => {
    if (cost !== 0) gainful.push(j);
  });
  const floor = objective - 0.5 * VERIFY_TOLERANCE * Math.max(1, Math.abs(objective));
  return {
    ...program,
    sense: 'min',
    cost: powerByColumn(problem, model),
    rowLower: joined(program.rowLower, [floor]),
    rowUpper: joined(program.rowUpper, [Infinity]),
    rowStarts: new Int32Array([...program.rowStarts, program.indices.length + gainful.length]),
    indices: new Int32Array([...program.indices, ...gainful]),
    values: joined(
      program.values,
      gainful.map((j) => program.cost[j] ?? 0),
    ),
    rowNames: [...program.rowNames, undefined],
  };
}

const joined = (values: Float64Array, more: readonly number[]): Float64Array => new Float64Array([...values, ...more]);

function powerByColumn(problem: PlacementProblem, model: ExactModel): Float64Array {
  const power = new Float64Array(model.program.cost.length);
  // A device that is on costs a little even when it idles at 0 W, so that ties go to fewer devices.
  problem.devices.forEach((device, d) => {
    modesOf(device).forEach(({ idleW }, m) => (power[model.powered[d]?.[m] ?? -1] = idleW + 1e-3));
  });
  model.arcs.forEach((arc, i) => {
    const share = model.shares[i] ?? -1;
    if (share >= 0) power[share] = arc.energy_J * (problem.classes[arc.k]?.rate ?? 0);
  });
  return power;
}
