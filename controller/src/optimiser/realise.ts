import { groupRouting } from './group-routing.js';
import type { LinearProgram } from './linear-program.js';
import type { Placement } from './placement.js';
import type { Pooling } from './pools.js';
import { FREE_PRICES, type Prices } from './prices.js';
import type { PlacementProblem } from './problem.js';
import type { LinearEngine, WarmBasis } from './solver.js';
import { type Hosting, spread } from './spread.js';
import { type Verification, verifyPlacement } from './verify.js';

/** A placement that the checker has passed. */
export interface Realised {
  readonly placement: Placement;
  readonly prices: Prices;
  readonly check: Verification;
  /** Where the routing program ended; undefined where nothing was routed. */
  readonly basis?: WarmBasis;
}

/** What a placement of pools comes to on the devices, routed as well as it can be; undefined when a bound breaks. */
export function realise(
  problem: PlacementProblem,
  pooling: Pooling,
  engine: LinearEngine,
  pooled: Placement,
  basis?: WarmBasis,
): Realised | undefined {
  return routeOn(problem, spread(problem, pooling, pooled), engine, pooling.poolOf, { basis });
}

/** The best routing for copies that stay where they are; undefined when no routing meets every bound. */
export function routeOn(
  problem: PlacementProblem,
  hosting: Hosting,
  engine: LinearEngine,
  poolOf?: readonly number[],
  { timeLimitS = 30, basis }: { readonly timeLimitS?: number; readonly basis?: WarmBasis | undefined } = {},
): Realised | undefined {
  const routing = groupRouting(problem, hosting, poolOf);
  if (routing.model.arcs.length === 0) return checked(problem, { ...hosting, routing: [] }, FREE_PRICES);
  const session = engine.open(routing.model.program);
  try {
    const answer = session.solve(timeLimitS, fitting(basis, routing.model.program));
    if (answer.status !== 'optimal') return undefined;
    const placement = { ...hosting, routing: routing.read(answer.point) };
    const found = checked(problem, placement, routing.prices(answer.point, answer.rowDuals));
    return found === undefined ? undefined : { ...found, basis: answer.basis };
  } finally {
    session.close();
  }
}

function checked(problem: PlacementProblem, placement: Placement, prices: Prices): Realised | undefined {
  const check = verifyPlacement(problem, placement);
  return check.ok ? { placement, prices, check } : undefined;
}

/** A basis of a program of the same size, which a small change leaves as it is; else none. */
export function fitting(basis: WarmBasis | undefined, program: LinearProgram): WarmBasis | undefined {
  if (basis === undefined) return undefined;
  const isSame = basis.columns.length === program.cost.length && basis.rows.length === program.rowLower.length;
  return isSame ? basis : undefined;
}
