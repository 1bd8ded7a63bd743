/**
 * Oracle for tests: every placement of a tiny problem in every power mode, each routed as well as it can be. Exact,
 * hopelessly slow beyond a dozen (device, variant) pairs. Assumes no pools (every device counts once).
 */
import { arcIndexOf } from './arc-index.js';
import { constraintUses, shortfalls } from './constraints.js';
import { modesOf, type Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { buildRoutingModel, readRouting } from './routing-lp.js';
import type { LinearSolver } from './solver.js';
import { VERIFY_TOLERANCE, verifyPlacement } from './verify.js';

const MOST_PAIRS = 12;

/** The best placement, or undefined when none meets all bounds. Throws RangeError when there are too many pairs. */
export async function exhaustive(
  problem: PlacementProblem,
  solver: LinearSolver,
): Promise<(Placement & { readonly objective: number }) | undefined> {
  let best: (Placement & { readonly objective: number }) | undefined;
  for (const fixed of everyPlacement(problem)) {
    const model = buildRoutingModel(problem, fixed);
    const answer = await solver.solve(model.program, { timeLimitS: 10, gap: 0 });
    if (answer.status !== 'optimal') continue;
    const plan = { ...fixed, routing: readRouting(model, problem, answer.point) };
    const check = verifyPlacement(problem, plan);
    if (check.ok && (best === undefined || check.objective > best.objective))
      best = { ...plan, objective: check.objective };
  }
  return best;
}

/** Every placement, with its modes, that keeps the bounds which do not depend on the routing. */
function* everyPlacement(problem: PlacementProblem): Iterable<Placement> {
  const pairs = problem.devices.flatMap((_, d) => {
    const variants = new Set(
      arcIndexOf(problem)
        .of(d)
        .map(({ v }) => v),
    );
    return [...variants].map((v) => [d, v] as const);
  });
  if (pairs.length > MOST_PAIRS) throw new RangeError(`${pairs.length} pairs, at most ${MOST_PAIRS} can be enumerated`);
  for (let mask = 0; mask < 2 ** pairs.length; mask++) {
    const placement = pairs.filter((_, i) => (mask >> i) % 2 === 1).map(([d, v]) => [d, v, 1] as const);
    const devices = [...new Set(placement.map(([d]) => d))];
    const poweredOn = devices.map((d) => [d, 1] as const);
    for (const modes of everyMode(problem, devices)) {
      const plan: Placement = { placement, poweredOn, modes, routing: [] };
      const broken = shortfalls(constraintUses(problem, plan), VERIFY_TOLERANCE);
      if (broken.every(({ group }) => group === 'demand')) yield plan;
    }
  }
}

/** Every choice of one mode for each of the devices that have modes. */
function everyMode(problem: PlacementProblem, devices: readonly number[]): (readonly [number, number, number])[][] {
  let choices: (readonly [number, number, number])[][] = [[]];
  for (const d of devices) {
    const device = problem.devices[d];
    if (device?.modes === undefined) continue;
    choices = choices.flatMap((chosen) => modesOf(device).map((_, m) => [...chosen, [d, m, 1] as const]));
  }
  return choices;
}
