/**
 * Oracle for tests: every placement of a tiny problem, each routed as well as it can be. Exact, hopelessly slow beyond
 * a dozen (device, variant) pairs. Assumes no pools (every device counts once).
 */
import { pairKey, type Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { buildRoutingModel, readRouting } from './routing-lp.js';
import type { LinearSolver } from './solver.js';
import { verifyPlacement } from './verify.js';

const MOST_PAIRS = 12;

/** The best placement, or undefined when none meets all bounds. Throws RangeError when there are too many pairs. */
export async function exhaustive(
  problem: PlacementProblem,
  solver: LinearSolver,
): Promise<(Placement & { readonly objective: number }) | undefined> {
  const pairs = [...new Map(problem.arcs.map(({ d, v }) => [pairKey(problem, d, v), [d, v] as const])).values()];
  if (pairs.length > MOST_PAIRS) throw new RangeError(`${pairs.length} pairs, at most ${MOST_PAIRS} can be enumerated`);
  let best: (Placement & { readonly objective: number }) | undefined;
  for (let mask = 0; mask < 2 ** pairs.length; mask++) {
    const placement = pairs.filter((_, i) => (mask >> i) % 2 === 1).map(([d, v]) => [d, v, 1] as const);
    const poweredOn = [...new Set(placement.map(([d]) => d))].map((d) => [d, 1] as const);
    const model = buildRoutingModel(problem, { placement, poweredOn });
    const answer = await solver.solve(model.program, { timeLimitS: 10, gap: 0 });
    if (answer.status !== 'optimal') continue;
    const plan = { placement, poweredOn, routing: readRouting(model, problem, answer.point) };
    const check = verifyPlacement(problem, plan);
    if (check.ok && (best === undefined || check.objective > best.objective))
      best = { ...plan, objective: check.objective };
  }
  return best;
}
