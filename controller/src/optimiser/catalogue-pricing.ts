import type { ExactModel } from './exact-model.js';
import { PoolPricing } from './pool-pricing.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';
import type { SearchTask } from './search-task.js';

/** Points that a pool has to gain for a column of its own. */
const WORTH = 1e-3;

/** Bounds on the devices as they are, for pools of devices that differ, in parts of the tree over catalogues. */
export function cataloguePricing(
  problem: PlacementProblem,
  pooling: Pooling,
  model: ExactModel,
): NonNullable<SearchTask['price']> {
  const pricing = new PoolPricing(problem, pooling, model.program);
  const columns = [...model.catalogue.entries()].filter(([, column]) => column >= 0);
  const most = problem.budgets.maxVariants ?? Infinity;
  return (duals, ranges) => {
    const catalogue = new Int8Array(problem.variants.length);
    let forced = 0;
    for (const [v, column] of columns) {
      const range = ranges.get(column);
      if ((range?.lower ?? 0) >= 1) forced++;
      catalogue[v] = (range?.lower ?? 0) >= 1 ? 1 : (range?.upper ?? 1) < 1 ? -1 : 0;
    }
    if (forced >= most) catalogue.forEach((state, v) => (catalogue[v] = state === 1 ? 1 : -1));
    return pricing.respond(duals, catalogue, WORTH);
  };
}
