import type { PlacementPlan } from './plan.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** Which copies run where, which devices are on, and how requests are routed: a plan without its claims. */
export type Placement = Pick<PlacementPlan, 'placement' | 'poweredOn' | 'routing'>;

/** Identical devices that entry `d` stands for. */
export const countOf = (problem: PlacementProblem, d: number): number => problem.devices[d]?.count ?? 1;

/** One number for (device, variant): key of maps. */
export const pairKey = (problem: PlacementProblem, d: number, v: number): number => d * problem.variants.length + v;

/** One number for (device, variant, class): key of maps. */
export const arcKey = (problem: PlacementProblem, d: number, v: number, k: number): number =>
  pairKey(problem, d, v) * problem.classes.length + k;

/** Arcs by `arcKey`. */
export function arcsByKey(problem: PlacementProblem): Map<number, ProblemArc> {
  return new Map(problem.arcs.map((arc) => [arcKey(problem, arc.d, arc.v, arc.k), arc]));
}

/** W = sum of weight * rate: what the objective is divided by. */
export const weightedRate = (problem: PlacementProblem): number =>
  problem.classes.reduce((total, each) => total + each.weight * each.rate, 0);
