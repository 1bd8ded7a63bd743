/**
 * The budgets that a trade-off curve can be drawn against.
 */
import { arcIndexOf } from './arc-index.js';
import { latencyUses } from './class-uses.js';
import { powerUse } from './constraints.js';
import { planUse, sumOf } from './plan-use.js';
import type { Placement } from './placement.js';
import type { PlacementProblem } from './problem.js';
import type { WhatIf } from './what-if.js';

export interface CurveAxis {
  readonly unit: 'W' | 'times the latency bounds';
  /** The budget as it is. */
  readonly now: number;
  /** As much as any plan could use. */
  readonly ample: number;
  /** The problem with another budget. */
  at(value: number): PlacementProblem;
  /** What a plan needs of it. */
  need(plan: Placement): number;
  /** The least at which some plan fits, where one does at `most`; undefined when none was found in time. */
  least(most: number, whatIf: WhatIf): Promise<number | undefined>;
}

/** Power of the whole fleet, W. */
export function powerAxis(problem: PlacementProblem): CurveAxis {
  const { budgets } = problem;
  const at = (powerW: number): PlacementProblem => ({ ...problem, budgets: { ...budgets, powerW } });
  return {
    unit: 'W',
    now: budgets.powerW,
    ample: amplePowerW(problem),
    at,
    need: (plan) => powerUse(planUse(problem, plan)).used,
    least: async (_, whatIf) => (await whatIf.repaired(at(budgets.baseW ?? 0), 'power'))?.budgets.powerW,
  };
}

/** The factor is found to this share. */
const FINE = 1.01;

/** One factor on the mean latency that every class allows. */
export function latencyAxis(problem: PlacementProblem): CurveAxis {
  const at = (factor: number): PlacementProblem => ({
    ...problem,
    classes: problem.classes.map((each) => ({ ...each, sloMean_s: each.sloMean_s * factor })),
  });
  return {
    unit: 'times the latency bounds',
    now: 1,
    ample: slowest(problem),
    at,
    need: (plan) => Math.max(0, ...latencyUses(planUse(problem, plan)).map(({ used, limit }) => used / limit)),
    least: async (most, whatIf) => {
      let [low, high] = [Math.min(most, quickest(problem)), most];
      let isLow = await whatIf.isFeasible(at(low));
      if (isLow === true) return low;
      for (; isLow !== undefined && high > low * FINE;) {
        const middle = Math.sqrt(low * high);
        isLow = await whatIf.isFeasible(at(middle));
        if (isLow === true) high = middle;
        else low = middle;
      }
      return isLow === undefined ? undefined : high;
    },
  };
}

/** No plan fits below: every class that has to be served on its quickest arc; any class at all where none has to be. */
function quickest(problem: PlacementProblem): number {
  const least = problem.classes.map(() => Infinity);
  problem.devices.forEach((_, d) => {
    for (const { k, latency_s } of arcIndexOf(problem).of(d)) least[k] = Math.min(least[k] ?? Infinity, latency_s);
  });
  const ratios = problem.classes.flatMap(({ rate, sloMean_s, minServed }, k) => {
    const ratio = (least[k] ?? Infinity) / sloMean_s;
    return rate > 0 && ratio < Infinity ? [{ ratio, isFloor: minServed > 0 }] : [];
  });
  const floors = ratios.filter(({ isFloor }) => isFloor).map(({ ratio }) => ratio);
  // A little more, so that the quickest arc itself is allowed whatever the rounding.
  const factor = floors.length > 0 ? Math.max(...floors) : Math.min(1, ...ratios.map(({ ratio }) => ratio));
  return Math.max(1e-6, factor * (1 + 1e-9));
}

/** Every arc is allowed. */
function slowest(problem: PlacementProblem): number {
  const tightest = problem.classes.reduce((least, { sloMean_s }) => Math.min(least, sloMean_s), Infinity);
  const slowness = problem.devices.reduce((most, { like }) => Math.max(most, like?.slowness ?? 1), 1);
  const worst = problem.arcs.reduce((most, { latency_s }) => Math.max(most, latency_s), 0);
  return Math.max(1, (worst * slowness) / tightest);
}

/** More than any plan draws, W. */
function amplePowerW({ devices, classes, budgets, arcs }: PlacementProblem): number {
  const idle = sumOf(devices, ({ idleW, modes = [], count = 1 }) => {
    return count * Math.max(idleW, ...modes.map((mode) => mode.idleW));
  });
  const hunger = devices.reduce((most, { like }) => Math.max(most, like?.hunger ?? 1), 1);
  const worst = arcs.reduce((most, { energy_J }) => Math.max(most, energy_J), 0) * hunger;
  return (budgets.baseW ?? 0) + idle + worst * sumOf(classes, ({ rate }) => rate);
}
