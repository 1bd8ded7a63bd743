import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { elapsed } from '@fleetgate/shared/units/quantity';

import { applyRepair, jointRepairOf, relaxationOf, type Repair } from './bound-change.js';
import { findConflict } from './conflict.js';
import { buildExactModel } from './exact-model.js';
import { GuardedSolver } from './guarded-solver.js';
import { jointRepairs } from './pareto-repairs.js';
import type { ConstraintGroup, JointRepair, PlacementPlan, Relaxation } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { findRepair } from './repair.js';
import type { SolverLimits, Solvers } from './solver.js';

/** Joint repairs ask about a dozen programs; this many times the limit of one is spent on them at most, and begun anew no more. */
const JOINT_LIMITS = 2;

export type Explained = Pick<PlacementPlan, 'conflict' | 'relaxations' | 'repairs' | 'explanation'>;

/**
 * Which groups cannot hold together, what each alone would have to give, what several would have to give together, and all
 * of it in sentences. Assumes an infeasible problem. `limits` are for each program.
 */
export async function explainInfeasible(
  problem: PlacementProblem,
  solvers: Solvers,
  limits: SolverLimits,
  clock: Clock = systemClock,
): Promise<Explained> {
  const conflict = await findConflict(problem, solvers.exact, limits);
  const solver = new GuardedSolver(solvers);
  const singles = new Map<ConstraintGroup, Repair>();
  for (const group of conflict.groups) {
    const repair = await findRepair(problem, new Set([group]), solver, limits);
    if (repair !== undefined && repair.changes.length > 0) singles.set(group, repair);
  }
  const started = clock.now();
  const joint = await jointRepairs({
    problem,
    conflict: conflict.groups,
    singles,
    ask: (changed, groups, dear) => findRepair(changed, groups, solver, limits, dear),
    isOver: () => elapsed(started, clock.now()) / 1000 > JOINT_LIMITS * limits.timeLimitS,
  });
  const relaxations = [...singles].map(([group, repair]) => relaxationOf(problem, group, repair));
  const repairs: JointRepair[] = [];
  for (const repair of joint) {
    if (await isEnough(problem, repair, solver, limits)) repairs.push(jointRepairOf(problem, repair));
  }
  const explanation = sentences(problem, conflict, relaxations, repairs);
  return { conflict: conflict.groups, relaxations, ...(repairs.length === 0 ? {} : { repairs }), explanation };
}

/** Its parts were found one after the other and rounded: it is shown only where it works. */
async function isEnough(problem: PlacementProblem, repair: Repair, solver: GuardedSolver, limits: SolverLimits) {
  const { program } = buildExactModel(applyRepair(problem, repair), { elastic: new Set() });
  const { status } = await solver.solve(program, limits);
  return status === 'optimal' || status === 'feasible';
}

export function sentences(
  problem: PlacementProblem,
  { groups, isIrreducible }: Awaited<ReturnType<typeof findConflict>>,
  relaxations: readonly Relaxation[],
  repairs: readonly JointRepair[],
): string[] {
  const proof = isIrreducible ? ': without any one of them the others could be met' : '';
  const together = groups.length > 1 ? ` together${proof}` : '';
  const joint = repairs.map(({ changes }) => changes.map(({ text }) => text).join(', '));
  const [first, ...others] = joint;
  return [
    `No placement meets the bounds on ${listed(groups)}${together}.`,
    ...relaxations.map(({ text }) => `It would do to change: ${text}.`),
    ...(relaxations.length === 0 && first !== undefined ? [`No single bound is enough; together: ${first}.`] : []),
    ...(relaxations.length === 0 ? others : joint).map((text) => `Or together: ${text}.`),
    ...(problem.arcs.length === 0 ? ['No device can host any of the variants for any class.'] : []),
  ];
}

const listed = (groups: readonly string[]): string =>
  groups.length < 2 ? groups.join('') : `${groups.slice(0, -1).join(', ')} and ${groups.at(-1)}`;
