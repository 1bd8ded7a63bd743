import { buildExactModel } from './exact-model.js';
import { fitsTiny } from './javascript-lp-model.js';
import type { Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import type { Solvers } from './solver.js';
import { type Verification, verifyPlacement } from './verify.js';

export interface SecondOpinion {
  readonly placement: Placement;
  readonly check: Verification;
}

/**
 * What javascript-lp-solver makes of a tiny problem, passed by our checker; undefined when the problem is too large for
 * it or it gave nothing that holds.
 */
export async function secondOpinion(
  problem: PlacementProblem,
  { tiny }: Solvers,
  timeLimitS: number,
): Promise<SecondOpinion | undefined> {
  if (tiny === undefined || problem.devices.length * problem.variants.length > MOST_PAIRS) return undefined;
  const model = buildExactModel(problem);
  if (!fitsTiny(model.program)) return undefined;
  const answer = await tiny.solve(model.program, { timeLimitS, gap: 0 });
  if (answer.status !== 'feasible' && answer.status !== 'optimal') return undefined;
  const placement = model.read(answer.point);
  const check = verifyPlacement(problem, placement);
  return check.ok ? { placement, check } : undefined;
}

/** Beyond this the program has more columns than the solver is asked about. */
const MOST_PAIRS = 100;
