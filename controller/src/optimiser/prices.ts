/**
 * Shadow prices: what one more unit of a budget is worth in objective points while the placement stays as it is.
 *
 * They are the duals of the routing program, accepted only when they prove its optimum: right signs, no column with a
 * gain left, and equal primal and dual objective (strong duality).
 */
import { type LinearProgram, objectiveAt } from './linear-program.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { RoutingModel } from './routing-lp.js';

export type Prices = PlacementPlan['prices'];

export const NO_PRICES: Prices = { power: null, latency: {}, energy: {}, util: {} };

/** Prices where nothing is routed: no bound costs anything. */
export const FREE_PRICES: Prices = { ...NO_PRICES, power: { value: 0, unit: 'points/W' } };

/** Relative; duals are exact to the solver's 1e-9. */
const DUALITY_TOLERANCE = 1e-6;

/**
 * An upper bound on a maximisation from any row duals, by weak duality: sum of each dual times the bound it presses on,
 * plus what each column could still gain within its bounds. Infinity when a dual presses on an infinite bound.
 */
export function dualBound(program: LinearProgram, duals: Float64Array): number {
  const gain = Float64Array.from(program.cost);
  let bound = 0;
  for (let i = 0; i < program.rowLower.length; i++) {
    // Duals of the order of rounding errors must not press on an infinite bound.
    const dual = Math.abs(duals[i] ?? 0) < 1e-9 ? 0 : (duals[i] ?? 0);
    if (dual === 0) continue;
    bound += dual * (dual > 0 ? (program.rowUpper[i] ?? Infinity) : (program.rowLower[i] ?? -Infinity));
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      const j = program.indices[e] ?? 0;
      gain[j] = (gain[j] ?? 0) - dual * (program.values[e] ?? 0);
    }
  }
  gain.forEach((reduced, j) => {
    bound += reduced * (reduced > 0 ? (program.upper[j] ?? 0) : (program.lower[j] ?? 0));
  });
  return bound;
}

/** Prices at an optimum of the routing program; NO_PRICES when the duals do not prove it. */
export function readPrices(
  problem: PlacementProblem,
  model: RoutingModel,
  point: Float64Array,
  duals: Float64Array,
): Prices {
  const { program, rows } = model;
  const objective = objectiveAt(program, point);
  const bound = dualBound(program, duals);
  if (!(Math.abs(bound - objective) <= DUALITY_TOLERANCE * Math.max(1, Math.abs(objective)))) return NO_PRICES;
  const dual = (row: number) => clean(duals[row] ?? 0);
  const served = new Map<number, number>();
  model.arcs.forEach((arc, j) => served.set(arc.k, (served.get(arc.k) ?? 0) + (point[j] ?? 0)));
  // The row holds (value - limit) * share, so moving the limit by one unit moves it by the served share.
  const perUnitOfMean = (byClass: ReadonlyMap<number, number>) =>
    Object.fromEntries([...byClass].map(([k, row]) => [String(k), clean(dual(row) * (served.get(k) ?? 0))]));
  const util = [...rows.util].map(([d, ofDevice]) => {
    return [String(d), clean(ofDevice.reduce((sum, { row, copies }) => sum + dual(row) * copies, 0))] as const;
  });
  return {
    power: { value: dual(rows.power), unit: 'points/W' },
    latency: perUnitOfMean(rows.latency),
    energy: perUnitOfMean(rows.energy),
    util: Object.fromEntries(util),
  };
}

/** A bound that costs nothing to keep has price 0; rounding noise is not a price. */
const clean = (value: number): number => (value > 1e-9 ? value : 0);
