import type { ExactModel } from './exact-model.js';
import { type LinearProgram, LinearProgramBuilder } from './linear-program.js';
import type { PlacementProblem } from './problem.js';
import { VERIFY_TOLERANCE } from './verify.js';

/** The same program, minimising the fleet's power, with the objective turned into a floor. */
export function powerProgram(problem: PlacementProblem, model: ExactModel, objective: number): LinearProgram {
  const { program } = model;
  const builder = new LinearProgramBuilder();
  const power = powerByColumn(problem, model);
  program.cost.forEach((_, j) =>
    builder.addColumn({
      cost: power.get(j) ?? 0,
      lower: program.lower[j] ?? 0,
      upper: program.upper[j] ?? 0,
      integer: program.integer[j] === 1,
    }),
  );
  program.rowLower.forEach((lower, i) => {
    const entries: [number, number][] = [];
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      entries.push([program.indices[e] ?? 0, program.values[e] ?? 0]);
    }
    builder.addRow(lower, program.rowUpper[i] ?? Infinity, entries);
  });
  const floor = objective - 0.5 * VERIFY_TOLERANCE * Math.max(1, Math.abs(objective));
  builder.addRow(
    floor,
    Infinity,
    [...program.cost].map((cost, j) => [j, cost] as const),
  );
  return builder.build('min');
}

function powerByColumn(problem: PlacementProblem, model: ExactModel): Map<number, number> {
  const byColumn = new Map<number, number>();
  // A device that is on costs a little even when it idles at 0 W, so that ties go to fewer devices.
  problem.devices.forEach((device, d) => byColumn.set(model.powered[d] ?? -1, device.idleW + 1e-3));
  for (const arc of problem.arcs) {
    const column = model.shareOf(arc);
    if (column !== undefined) byColumn.set(column, arc.energy_J * (problem.classes[arc.k]?.rate ?? 0));
  }
  return byColumn;
}
