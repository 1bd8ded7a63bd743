/**
 * Why a large fleet has no plan. Conflicts and repairs are found on the pools' linear programs: with many devices whole
 * numbers cost little, and mixed-integer programs take minutes to say so. These are asked only where it is whole numbers
 * that cannot be met. What is offered as a repair is tried.
 */
import { applyRepair, relaxationOf, type Repair, widened } from './bound-change.js';
import { findConflict } from './conflict.js';
import { type Explained, sentences } from './explain-infeasible.js';
import { isFloor } from './constraints.js';
import { buildExactModel } from './exact-model.js';
import type { Relaxation } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { findRepair } from './repair.js';
import type { LinearSolver, SolverLimits } from './solver.js';

/** What whole numbers may need beyond the linear program's move of a bound. */
const MARGINS = [1, 1.01, 1.03, 1.1, 1.3, 1.6, 2, 3];

/** `pooled`: one entry per kind of device. `isFeasible` looks for a placement for a moment. */
export async function explainLargeInfeasible(
  pooled: PlacementProblem,
  exact: LinearSolver,
  limits: SolverLimits,
  isFeasible: (changed: PlacementProblem) => boolean,
): Promise<Explained> {
  const relaxed = relaxing(exact);
  const isWhole = await hasPoint(pooled, relaxed, limits);
  const solver = isWhole ? exact : relaxed;
  const conflict = await findConflict(pooled, solver, limits);
  const relaxations: Relaxation[] = [];
  for (const group of conflict.groups) {
    const repair = await findRepair(pooled, new Set([group]), solver, limits);
    if (repair === undefined || repair.changes.length === 0) continue;
    const enough = MARGINS.map((margin) => scaled(repair, margin)).find((each) =>
      isFeasible(applyRepair(pooled, each)),
    );
    if (enough !== undefined) relaxations.push(relaxationOf(pooled, group, enough));
  }
  const explanation = sentences(pooled, conflict, relaxations, []);
  const programs = isWhole ? 'the programs' : 'the linear programs';
  const note = `Found on ${programs} of pools of like devices, which are named by their first one.`;
  return { conflict: conflict.groups, relaxations, explanation: [...explanation, note] };
}

/** Whether fractions of copies and devices would do: then linear programs see no conflict. */
async function hasPoint(pooled: PlacementProblem, relaxed: LinearSolver, limits: SolverLimits): Promise<boolean> {
  const { status } = await relaxed.solve(buildExactModel(pooled, { elastic: new Set() }).program, limits);
  return status === 'optimal';
}

/** The solver, blind to which columns are to be whole numbers. */
function relaxing(exact: LinearSolver): LinearSolver {
  return {
    name: exact.name,
    solve: (program, limits) => exact.solve({ ...program, integer: new Uint8Array(program.integer.length) }, limits),
    close: async () => {},
  };
}

function scaled({ changes }: Repair, margin: number): Repair {
  return {
    changes: changes.map((change) => {
      const size = Math.abs(change.to - change.from) * margin;
      const to = widened(change.group, change.from, size);
      return { ...change, to: isFloor(change.group) ? Math.min(change.to, to) : Math.max(change.to, to) };
    }),
  };
}
