import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { elapsed } from '@fleetgate/shared/units/quantity';

import { explain } from './explain.js';
import { finished, type Found, withoutPlan } from './finish-plan.js';
import { qualityCeiling } from './objective.js';
import type { Placement } from './placement.js';
import type { PlacementPlan } from './plan.js';
import { exactPools } from './pools.js';
import type { PlacementProblem } from './problem.js';
import { routeOn } from './realise.js';
import type { Solvers } from './solver.js';

/** Devices are routed one by one below this many, like devices together above it. */
const SMALL_FLEET = 30;

/**
 * The best routing for a placement that is kept as it is: `feasible` with its objective and prices (its bound is the
 * ceiling, nothing is claimed of other placements), or `infeasible`, then without conflict or repairs.
 */
export async function route(
  problem: PlacementProblem,
  { placement, poweredOn, modes }: Pick<Placement, 'placement' | 'poweredOn' | 'modes'>,
  limits: { readonly timeLimitS: number },
  solvers: Solvers,
  clock: Clock = systemClock,
): Promise<PlacementPlan> {
  const started = clock.now();
  const seconds = () => elapsed(started, clock.now()) / 1000;
  const found: Found = {
    certificate: undefined,
    method: `routing/${solvers.exact.name}`,
    isTimedOut: false,
    nodes: 0,
    notes: [],
  };
  const engine = await solvers.exact.engine?.();
  const hosting = { placement, poweredOn, ...(modes === undefined ? {} : { modes }) };
  const pools = problem.devices.length < SMALL_FLEET ? undefined : exactPools(problem).poolOf;
  const best =
    engine === undefined ? undefined : routeOn(problem, hosting, engine, pools, { timeLimitS: limits.timeLimitS });
  if (best === undefined) {
    const reason = 'No routing over this placement meets every bound.';
    return { ...withoutPlan(problem, found, [reason]), status: 'infeasible', bound: null, seconds: seconds() };
  }
  const plan = finished(problem, best, found, undefined, 'keep');
  const bound = Math.max(qualityCeiling(problem), plan.objective ?? 0);
  const explanation = explain(problem, { ...plan, bound: null }, best.check.uses);
  return { ...plan, bound, explanation, seconds: seconds() };
}
