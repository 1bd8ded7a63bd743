import type { PlacementPlan } from './plan.js';
import type { PlacementProblem, ProblemArc, ProblemDevice } from './problem.js';

/** Which copies run where, which devices are on and in which mode, how requests are routed: a plan without its claims. */
export type Placement = Pick<PlacementPlan, 'placement' | 'poweredOn' | 'modes' | 'routing'>;

/** Identical devices that entry `d` stands for. */
export const countOf = (problem: PlacementProblem, d: number): number => problem.devices[d]?.count ?? 1;

/** One number for (device, variant): key of maps and tables. */
export const pairKey = (problem: PlacementProblem, d: number, v: number): number => d * problem.variants.length + v;

/** Power modes of a device; one without modes has the single mode 0. */
export const modesOf = (device: ProblemDevice): readonly Pick<ProblemDevice, 'idleW' | 'powerCapW'>[] =>
  device.modes === undefined ? [device] : device.modes.map(({ idleW, powerCapW = null }) => ({ idleW, powerCapW }));

/** Mean power, W per device, at which the battery lasts the horizon; undefined on mains. */
export function batteryW(problem: PlacementProblem, device: ProblemDevice): number | undefined {
  const horizon = problem.budgets.horizon_s;
  if (device.battery_J === undefined || device.battery_J === null || horizon === undefined) return undefined;
  return device.battery_J / horizon;
}

/** Whether an arc keeps its class's bound on the 95th percentile. One whose percentile is unknown does. */
export function keepsTail(problem: PlacementProblem, arc: ProblemArc): boolean {
  const bound = problem.classes[arc.k]?.sloP95_s;
  return bound === undefined || bound === null || arc.p95_s === undefined || arc.p95_s <= bound;
}

/** W = sum of weight * rate: what the objective is divided by. */
export const weightedRate = (problem: PlacementProblem): number =>
  problem.classes.reduce((total, each) => total + each.weight * each.rate, 0);

/** Devices of each site, by site; those without a site are in none. */
export function devicesBySite(problem: PlacementProblem): number[][] {
  const members: number[][] = (problem.sites ?? []).map(() => []);
  problem.devices.forEach(({ site }, d) => {
    if (site !== undefined) members[site]?.push(d);
  });
  return members;
}
