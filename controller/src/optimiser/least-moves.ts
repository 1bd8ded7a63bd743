/**
 * The elastic program: how far the bounds of some groups have to move, one slack per bound in the bound's own unit.
 */
import { type BoundChange, boundValue, type Repair, totalMove, widened } from './bound-change.js';
import { buildExactModel, type ExactModel } from './exact-model.js';
import type { BoundOf, Slack } from './exact-parts.js';
import type { LinearProgram } from './linear-program.js';
import { sumOf } from './plan-use.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem, ProblemArc } from './problem.js';
import type { LinearSolver, SolverLimits } from './solver.js';

/** Repairs of a mean divide the slack by the served share; a few rounds find the least (Dinkelbach 1967). */
const RATIO_ROUNDS = 6;

/** A repair with the point that shows it to be one. */
export interface Moves extends Repair {
  readonly model: ExactModel;
  readonly point: Float64Array;
}

/** What is asked: which groups may move, and arcs whose use is to be avoided where it makes no difference. */
export interface MovesQuestion {
  readonly problem: PlacementProblem;
  readonly groups: ReadonlySet<ConstraintGroup>;
  readonly isDisliked?: (arc: ProblemArc) => boolean;
  /** A group whose moves count `DEAR` times, where several may move. */
  readonly dear?: ConstraintGroup;
}

interface Solved extends Moves {
  /** Slack per served share of each elastic mean, by `group,class`. */
  readonly ratios: ReadonlyMap<string, number>;
}

const DEAR = 10;

/** Weight of the share of a disliked arc: far below a change of one percent of a bound. */
const DISLIKE = 1e-6;

const isMean = ({ group }: BoundOf): boolean => group === 'latency' || group === 'energy';

/**
 * The least moves of the bounds of `groups` that make the problem feasible, none when it is; undefined when there are
 * none or time ran out. `tail` has no slacks: where it is among the groups, its bounds are not there.
 */
export async function leastMoves(
  question: MovesQuestion,
  solver: LinearSolver,
  limits: SolverLimits,
): Promise<Moves | undefined> {
  const model = buildExactModel(question.problem, { elastic: question.groups });
  const solve = async (program: LinearProgram) =>
    readMoves(question.problem, model, await solver.solve(program, limits));
  let best = await solve(weighted(question, model));
  if (best === undefined || !best.changes.some(isMean)) return best;
  for (let round = 0; round < RATIO_ROUNDS; round++) {
    const next = await solve(ratioProgram(question, model, best.ratios));
    if (next === undefined || totalMove(next) >= totalMove(best) * (1 - 1e-6)) break;
    best = next;
  }
  return best;
}

function readMoves(
  problem: PlacementProblem,
  model: ExactModel,
  answer: Awaited<ReturnType<LinearSolver['solve']>>,
): Solved | undefined {
  if (answer.status !== 'optimal' && answer.status !== 'feasible') return undefined;
  const { point } = answer;
  const ratios = new Map<string, number>();
  const changes: BoundChange[] = [];
  const served = servedShares(problem, model, point);
  for (const slack of model.slacks) {
    const size = ((point[slack.column] ?? 0) * slack.scale) / shareOfSlack(problem, model, { slack, served, point });
    if (isMean(slack)) ratios.set(`${slack.group},${slack.index}`, size);
    const from = boundValue(problem, slack);
    // Below a millionth of the bound it is rounding, not a repair.
    if (size <= 1e-6 * Math.max(1e-3, from)) continue;
    const { column: _, scale: __, ...bound } = slack;
    changes.push({ ...bound, from, to: widened(slack.group, from, size) });
  }
  return { changes, ratios, model, point };
}

/** What a slack is spread over: the served share for a mean, the devices that are on for a bound per device. */
function shareOfSlack(
  problem: PlacementProblem,
  model: ExactModel,
  { slack, served, point }: { slack: Slack; served: Float64Array; point: Float64Array },
): number {
  const index = slack.index ?? -1;
  if (isMean(slack)) return Math.max(1e-9, served[index] ?? 0);
  const isPerDevice = ['slots', 'memory', 'devpower', 'battery'].includes(slack.group);
  if (!isPerDevice || (problem.devices[index]?.count ?? 1) === 1) return 1;
  const columns = model.powered[index] ?? [];
  const on = slack.m === undefined ? columns : columns.slice(slack.m, slack.m + 1);
  return Math.max(1, Math.round(sumOf(on, (column) => point[column] ?? 0)));
}

function servedShares(problem: PlacementProblem, model: ExactModel, point: Float64Array): Float64Array {
  const served = new Float64Array(problem.classes.length);
  model.arcs.forEach(({ k }, i) => (served[k] = (served[k] ?? 0) + (point[model.shares[i] ?? -1] ?? 0)));
  return served;
}

/** Slacks of different units are weighed by their bound, so that 1 % of each counts the same. */
function weighted({ problem, groups, isDisliked, dear }: MovesQuestion, model: ExactModel): LinearProgram {
  const cost = Float64Array.from(model.program.cost);
  if (groups.size > 1) {
    for (const slack of model.slacks) {
      const weight = slack.group === dear ? DEAR : 1;
      cost[slack.column] = (weight * slack.scale) / Math.max(1e-3, boundValue(problem, slack));
    }
  }
  model.arcs.forEach((arc, i) => {
    const share = model.shares[i] ?? -1;
    if (share >= 0 && isDisliked?.(arc) === true) cost[share] = groups.size === 0 ? 1 : DISLIKE;
  });
  return { ...model.program, cost };
}

/** Dinkelbach's step: minimise slack - ratio * served share; at the least ratio its optimum is 0. */
function ratioProgram(question: MovesQuestion, model: ExactModel, ratios: ReadonlyMap<string, number>): LinearProgram {
  const program = weighted(question, model);
  const cost = Float64Array.from(program.cost);
  for (const { group, index, column } of model.slacks) {
    const ratio = ratios.get(`${group},${index}`) ?? 0;
    if (ratio === 0) continue;
    model.arcs.forEach(({ k }, i) => {
      const share = model.shares[i] ?? -1;
      if (k === index && share >= 0) cost[share] = (cost[share] ?? 0) - ratio * (program.cost[column] ?? 0);
    });
  }
  return { ...program, cost };
}
