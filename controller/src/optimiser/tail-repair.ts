/**
 * Repairs of the bounds on the 95th percentile. Such a bound is a filter of arcs, so it has no slack that a program
 * could minimise: it is searched for.
 */
import { type BoundChange, type Repair, widened } from './bound-change.js';
import type { ExactModel } from './exact-model.js';
import { leastMoves, type Moves, type MovesQuestion } from './least-moves.js';
import { pairKey } from './placement.js';
import type { PlacementProblem, ProblemArc } from './problem.js';
import type { LinearSolver, SolverLimits } from './solver.js';
import { arcIndexOf } from './arc-index.js';

/**
 * The least factor on all bounds of the 95th percentile at which moves of the other groups (there may be none) make
 * the problem feasible: bisection over the ratios of the arcs' percentiles to their bounds, one program each. Then every
 * class gets the bound that the placement found needs. The factor is exact as far as the solver is, and so is the bound
 * of a single class; with several classes another placement might need less of one of them.
 */
export async function repairTail(
  question: Omit<MovesQuestion, 'isDisliked'>,
  solver: LinearSolver,
  limits: SolverLimits,
): Promise<Repair | undefined> {
  const { problem } = question;
  const factors = factorsOf(problem);
  const isDisliked = (arc: ProblemArc) => tailRatio(problem, arc) > 1;
  const at = (factor: number) =>
    leastMoves({ ...question, problem: scaledTails(problem, factor), isDisliked }, solver, limits);
  let best = await at(factors.at(-1) ?? 1);
  if (best === undefined) return undefined;
  let [low, high] = [0, factors.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const moves = await at(factors[middle] ?? 1);
    if (moves === undefined) low = middle + 1;
    else [high, best] = [middle, moves];
  }
  return { changes: [...best.changes, ...tailChanges(problem, best)] };
}

/** 95th percentile of an arc relative to the bound of its class; 0 where either is unknown. */
function tailRatio(problem: PlacementProblem, { k, p95_s = 0 }: ProblemArc): number {
  return p95_s / (problem.classes[k]?.sloP95_s ?? Infinity);
}

/** 1 and every ratio above it, ascending. */
function factorsOf(problem: PlacementProblem): number[] {
  const factors = new Set([1]);
  problem.devices.forEach((_, d) => {
    for (const arc of arcIndexOf(problem).of(d)) if (tailRatio(problem, arc) > 1) factors.add(tailRatio(problem, arc));
  });
  return [...factors].sort((a, b) => a - b);
}

function scaledTails(problem: PlacementProblem, factor: number): PlacementProblem {
  // A little more, so that the arc which gave the factor is allowed whatever the rounding.
  const scale = factor === 1 ? 1 : factor * (1 + 1e-12);
  return {
    ...problem,
    classes: problem.classes.map((each) =>
      each.sloP95_s === undefined || each.sloP95_s === null ? each : { ...each, sloP95_s: each.sloP95_s * scale },
    ),
  };
}

/** The bounds that a point needs: of the arcs that carry requests, and of those that make a copy count as a replica. */
function tailChanges(problem: PlacementProblem, { model, point }: Moves): BoundChange[] {
  const needed = new Float64Array(problem.classes.length);
  model.arcs.forEach((arc, i) => {
    const { k, p95_s = 0 } = arc;
    if (tailRatio(problem, arc) <= 1) return;
    const isUsed = (point[model.shares[i] ?? -1] ?? 0) > 1e-9 || counts(problem, model, point, arc);
    if (isUsed) needed[k] = Math.max(needed[k] ?? 0, p95_s);
  });
  return problem.classes.flatMap(({ sloP95_s }, k) => {
    const worst = needed[k] ?? 0;
    if (worst === 0 || sloP95_s === undefined || sloP95_s === null) return [];
    return [{ group: 'tail', index: k, from: sloP95_s, to: widened('tail', sloP95_s, worst - sloP95_s) } as const];
  });
}

function counts(problem: PlacementProblem, model: ExactModel, point: Float64Array, { d, v, k }: ProblemArc): boolean {
  const each = problem.classes[k];
  if (each === undefined || (each.minReplicas === 0 && (each.minSites ?? 0) === 0)) return false;
  return (point[model.copies[pairKey(problem, d, v)] ?? -1] ?? 0) > 0.5;
}
