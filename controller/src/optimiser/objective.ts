import { arcIndexOf } from './arc-index.js';
import { pairKey, type Placement, weightedRate } from './placement.js';
import type { PlacementProblem } from './problem.js';

/** 1000 / W * sum weight * quality * rate over the routing: demand-weighted quality in thousandths, 0..1000. */
export function qualityPoints(problem: PlacementProblem, routing: Placement['routing']): number {
  const total = weightedRate(problem);
  if (total === 0) return 0;
  const arcs = arcIndexOf(problem);
  let points = 0;
  for (const { k, d, v, m, rate } of routing) {
    points += (problem.classes[k]?.weight ?? 0) * (arcs.find(d, v, k, m)?.quality ?? 0) * rate;
  }
  return (1000 * points) / total;
}

/** GiB that have to be newly loaded to get from `problem.current` to the placement. */
export function movedGiB(problem: PlacementProblem, placement: Placement['placement']): number {
  const held = new Map<number, number>();
  for (const [d, v] of problem.current) {
    const key = pairKey(problem, d, v);
    held.set(key, (held.get(key) ?? 0) + 1);
  }
  let total = 0;
  for (const [d, v, copies] of placement) {
    const fresh = Math.max(0, copies - (held.get(pairKey(problem, d, v)) ?? 0));
    total += fresh * (problem.variants[v]?.memGiB ?? 0);
  }
  return total;
}

/** What the optimiser maximises: quality points less the penalty of moving. */
export function objectiveOf(problem: PlacementProblem, plan: Placement): number {
  return qualityPoints(problem, plan.routing) - problem.movePenaltyPerGiB * movedGiB(problem, plan.placement);
}

/** Every class entirely on its best arc: no plan is above this. */
export function qualityCeiling(problem: PlacementProblem): number {
  const total = weightedRate(problem);
  if (total === 0) return 0;
  const best = new Float64Array(problem.classes.length);
  for (const arc of problem.arcs) best[arc.k] = Math.max(best[arc.k] ?? 0, arc.quality);
  return problem.classes.reduce((sum, each, k) => sum + (1000 * each.weight * each.rate * (best[k] ?? 0)) / total, 0);
}
