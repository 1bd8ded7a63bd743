import type { ExactModel } from './exact-model.js';
import type { LinearProgram } from './linear-program.js';
import { modesOf } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { VERIFY_TOLERANCE } from './verify.js';

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
