import { systemClock } from '@fleetgate/shared/clock';

import { arcIndexOf } from '../optimiser/arc-index.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { optimise } from '../optimiser/optimise.js';
import { countOf } from '../optimiser/placement.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { WarmPlan } from '../optimiser/warm-plan.js';
import { type BenchFigure, figure } from './bench-report.js';
import { fleetProblem } from './fleet-instances.js';

const DEVICES = 1000;
/** Devices that are lost, one at a time, each from the whole fleet. */
const LOSSES = 9;

/**
 * One device of 1,000 is lost, nine times another one: routing over what is left, and a new plan, both from a warm plan,
 * beside a search from nothing. Medians, in this process.
 */
export async function warmFigures(seed: number, timeLimitS: number): Promise<BenchFigure[]> {
  const shape = { variants: 40, classes: 32, kappa: 8, seed, jitter: 'none', modes: false, sites: 0 } as const;
  const problem = singly(fleetProblem({ ...shape, devices: DEVICES }));
  const exact = new HighsSolver();
  const engine = await exact.engine();
  const limits = { timeLimitS, method: 'auto', gap: 1e-3 } as const;
  const plan = await optimise(problem, limits, { exact });
  const [rerouted, replanned, searched, gaps]: [number[], number[], number[], number[]] = [[], [], [], []];
  const busy = plan.poweredOn.map(([d]) => d);
  for (let i = 0; i < LOSSES; i++) {
    const lost = busy[Math.floor((i * busy.length) / LOSSES)] ?? 0;
    const warm = WarmPlan.of(problem, plan, engine);
    if (warm === undefined) return [];
    rerouted.push(await msOf(() => warm.reroute(new Set([lost]))));
    const left = without(problem, lost);
    replanned.push(await msOf(() => gaps.push(warm.replan(left, limits.gap)?.gap ?? NaN)));
    if (i < 1) searched.push(await msOf(() => optimise(left, limits, { exact })));
  }
  const scratch = { name: 'search from nothing, gap 0.1 %', value: median(searched) };
  return [
    figure(`one of ${DEVICES} devices lost: routed again`, 'ms', median(rerouted), scratch),
    figure(`one of ${DEVICES} devices lost: planned again`, 'ms', median(replanned), scratch),
    figure('largest gap certified so', '%', 100 * Math.max(...gaps)),
  ];
}

async function msOf(work: () => unknown): Promise<number> {
  const started = systemClock.now();
  await work();
  return systemClock.now() - started;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** Every entry with a count as so many entries. */
function singly(problem: PlacementProblem): PlacementProblem {
  const index = arcIndexOf(problem);
  const entries = problem.devices.flatMap((_, d) => Array.from({ length: countOf(problem, d) }, (__, i) => ({ d, i })));
  return {
    ...problem,
    devices: entries.flatMap(({ d, i }) => {
      const device = problem.devices[d];
      if (device === undefined) return [];
      const { count: _count, ...one } = device;
      return [{ ...one, id: `${device.id}-${i}` }];
    }),
    arcs: entries.flatMap(({ d }, own) => index.of(d).map((arc) => ({ ...arc, d: own }))),
  };
}

function without(problem: PlacementProblem, lost: number): PlacementProblem {
  return {
    ...problem,
    devices: problem.devices.filter((_, d) => d !== lost),
    arcs: problem.arcs.filter(({ d }) => d !== lost).map((arc) => (arc.d > lost ? { ...arc, d: arc.d - 1 } : arc)),
  };
}
