import { keepsTail, modesOf, weightedRate } from './placement.js';
import { arcIndexOf } from './arc-index.js';
import type { PlacementProblem, ProblemArc } from './problem.js';
import type { RoutingModel } from './routing-lp.js';

/** Duals of the routing program by the names of its rows (`certificate.ts`): points per unit of each row's bound. */
export type RowPrices = ReadonlyMap<string, number>;

/**
 * Prices by name of row. A share of 1 is all of a class, so the solver may put the worth of serving it on the column
 * instead of the row `served:k`; it is put back, which proves no less (weak duality).
 */
export function rowPrices({ program, arcs }: RoutingModel, duals: Float64Array): RowPrices {
  const prices = new Map<string, number>();
  const gains = Float64Array.from(program.cost);
  duals.forEach((dual, i) => {
    if (Math.abs(dual) < 1e-9) return;
    prices.set(program.rowNames[i] ?? '', dual);
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      const j = program.indices[e] ?? 0;
      gains[j] = (gains[j] ?? 0) - dual * (program.values[e] ?? 0);
    }
  });
  const most = new Map<number, number>();
  arcs.forEach(({ k }, j) => most.set(k, Math.max(most.get(k) ?? 0, gains[j] ?? 0)));
  for (const [k, gain] of most) prices.set(`served:${k}`, (prices.get(`served:${k}`) ?? 0) + gain);
  return prices;
}

/** What a device that is off would take and earn at given prices, were it on beside what is there. */
export interface Earnings {
  /** Idle power of the mode that is best for it, W. */
  readonly idleW: number;
  /** What that power is worth elsewhere, points. */
  readonly cost: number;
  /** Points that serving requests there could earn at most. */
  readonly earnsAtMost: number;
}

/**
 * Upper bound on what one more device of entry `d` adds to a plan whose other placements stay, by weak duality: busy time
 * goes to the arcs that earn most per second at the prices, whatever copies that takes (fractional knapsack, Dantzig 1957).
 * Slots, memory, caps and moves can only make it less. Undefined where nothing may run there.
 */
export function earningsAt(
  problem: PlacementProblem,
  d: number,
  prices: RowPrices,
  mayHost: (v: number) => boolean,
): Earnings | undefined {
  const device = problem.devices[d];
  if (device === undefined) return undefined;
  const perWatt = priceOf(prices, 'power') + priceOf(prices, `sitepower:${device.site}`);
  const arcs = arcIndexOf(problem).of(d);
  const usable = arcs.filter((arc) => (problem.classes[arc.k]?.rate ?? 0) > 0 && keepsTail(problem, arc));
  const options = modesOf(device).map(({ idleW }, m) => {
    const inMode = usable.filter((arc) => (arc.m ?? 0) === m && mayHost(arc.v));
    const earnsAtMost = filled(problem, inMode, prices, device.maxUtil);
    return { idleW, cost: perWatt * idleW, earnsAtMost };
  });
  const [first, ...others] = options;
  if (first === undefined || usable.length === 0) return undefined;
  const net = (option: Earnings) => option.earnsAtMost - option.cost;
  return others.reduce((best, option) => (net(option) > net(best) ? option : best), first);
}

/** Points of the best use of `seconds` of busy time per second. */
function filled(problem: PlacementProblem, arcs: readonly ProblemArc[], prices: RowPrices, seconds: number): number {
  const offers = arcs.flatMap((arc) => {
    const points = reducedPoints(problem, arc, prices);
    const time = arc.service_s * (problem.classes[arc.k]?.rate ?? 0);
    return points > 0 ? [{ points, time }] : [];
  });
  let [left, total] = [seconds, 0];
  for (const { points, time } of offers.sort((a, b) => b.points / b.time - a.points / a.time)) {
    if (left <= 0) break;
    const share = Math.min(1, left / time);
    total += share * points;
    left -= share * time;
  }
  return total;
}

/** What serving a whole class on an arc earns, less what it takes of every priced bound. */
function reducedPoints(problem: PlacementProblem, arc: ProblemArc, prices: RowPrices): number {
  const { k, d, quality, energy_J, latency_s } = arc;
  const each = problem.classes[k];
  const total = weightedRate(problem);
  if (each === undefined || total === 0) return 0;
  const site = problem.devices[d]?.site;
  const watts = energy_J * each.rate;
  return (
    (1000 * each.weight * each.rate * quality) / total -
    priceOf(prices, `served:${k}`) -
    priceOf(prices, `floor:${k}`) -
    priceOf(prices, `latency:${k}`) * (latency_s - each.sloMean_s) -
    priceOf(prices, `energy:${k}`) * (energy_J - (each.maxEnergy_J ?? 0)) -
    (priceOf(prices, 'power') + priceOf(prices, `sitepower:${site}`)) * watts -
    priceOf(prices, `network:${site}`) * (each.requestBits ?? 0) * each.rate
  );
}

const priceOf = (prices: RowPrices, name: string): number => prices.get(name) ?? 0;
