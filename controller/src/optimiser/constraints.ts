/**
 * What a plan uses of each bound: one named function per constraint group, from the problem and the plan alone.
 *
 * A use is expressed in the unit a person set the bound in (a mean latency, not the row of the linear program), so that
 * the same figures serve the checker, the dashboard and the explanation. A bound from below (demand, replicas) has
 * `used >= limit`. Nothing here is shared with the models given to solvers.
 */
import { arcIndexOf } from './arc-index.js';
import { movedGiB } from './objective.js';
import { countOf, type Placement } from './placement.js';
import type { ConstraintGroup, ConstraintUse } from './plan.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

export interface Flow extends ProblemArc {
  readonly rate: number;
}

/** A plan with its routing joined to the arcs and summed per device. */
export interface PlanUse {
  readonly problem: PlacementProblem;
  readonly plan: Placement;
  readonly flows: readonly Flow[];
  /** Copies by device, then variant. */
  readonly copies: ReadonlyMap<number, ReadonlyMap<number, number>>;
  /** Devices switched on, by entry. */
  readonly powered: ReadonlyMap<number, number>;
}

export function planUse(problem: PlacementProblem, plan: Placement): PlanUse {
  const arcs = arcIndexOf(problem);
  const copies = new Map<number, Map<number, number>>();
  for (const [d, v, count] of plan.placement) {
    const ofDevice = copies.get(d) ?? new Map<number, number>();
    copies.set(d, ofDevice.set(v, (ofDevice.get(v) ?? 0) + count));
  }
  const flows = plan.routing.flatMap(({ k, d, v, m, rate }) => {
    const arc = arcs.find(d, v, k, m);
    return arc === undefined ? [] : [{ ...arc, rate }];
  });
  return { problem, plan, flows, copies, powered: new Map(plan.poweredOn) };
}

const sumOf = <T>(items: Iterable<T>, value: (item: T) => number): number => {
  let total = 0;
  for (const item of items) total += value(item);
  return total;
};

function groupBy<T>(items: Iterable<T>, key: (item: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** Served share of each class against its floor. Classes without demand have nothing to serve. */
export function demandUses({ problem, flows }: PlanUse): ConstraintUse[] {
  const byClass = groupBy(flows, (flow) => flow.k);
  return problem.classes.flatMap((each, k) => {
    if (each.rate === 0) return [];
    const used = sumOf(byClass.get(k) ?? [], (flow) => flow.rate) / each.rate;
    return [{ group: 'demand', subject: each.id, used, limit: each.minServed, unit: 'served share' } as const];
  });
}

/** Busy share of each device that is on; a pool's mean. */
export function utilUses({ problem, flows, powered }: PlanUse): ConstraintUse[] {
  const byDevice = groupBy(flows, (flow) => flow.d);
  return [...powered].flatMap(([d, on]) => {
    const device = problem.devices[d];
    if (device === undefined || on === 0) return [];
    const used = sumOf(byDevice.get(d) ?? [], (flow) => flow.service_s * flow.rate) / on;
    return [{ group: 'util', subject: device.id, used, limit: device.maxUtil, unit: 'busy share' } as const];
  });
}

/** Copies resident on each device that is on. */
export function slotUses({ problem, copies, powered }: PlanUse): ConstraintUse[] {
  return [...powered].flatMap(([d, on]) => {
    const device = problem.devices[d];
    if (device === undefined || on === 0) return [];
    const used = sumOf((copies.get(d) ?? new Map<number, number>()).values(), (count) => count);
    return [{ group: 'slots', subject: device.id, used, limit: device.slots * on, unit: 'slots' } as const];
  });
}

/** Memory of the copies resident on each device that is on. */
export function memoryUses({ problem, copies, powered }: PlanUse): ConstraintUse[] {
  return [...powered].flatMap(([d, on]) => {
    const device = problem.devices[d];
    if (device === undefined || on === 0) return [];
    const hosted = copies.get(d) ?? new Map<number, number>();
    const used = sumOf(hosted, ([v, count]) => (problem.variants[v]?.memGiB ?? 0) * count);
    return [{ group: 'memory', subject: device.id, used, limit: device.memGiB * on, unit: 'GiB' } as const];
  });
}

/** Mean latency of the served requests of each class. */
export function latencyUses({ problem, flows }: PlanUse): ConstraintUse[] {
  const byClass = groupBy(flows, (flow) => flow.k);
  return problem.classes.flatMap((each, k) => {
    const served = byClass.get(k) ?? [];
    const rate = sumOf(served, (flow) => flow.rate);
    if (rate <= 0) return [];
    const used = sumOf(served, (flow) => flow.latency_s * flow.rate) / rate;
    return [{ group: 'latency', subject: each.id, used, limit: each.sloMean_s, unit: 's' } as const];
  });
}

/** Mean energy above idle of the served requests of each class that has such a bound. */
export function energyUses({ problem, flows }: PlanUse): ConstraintUse[] {
  const byClass = groupBy(flows, (flow) => flow.k);
  return problem.classes.flatMap((each, k) => {
    const served = byClass.get(k) ?? [];
    const rate = sumOf(served, (flow) => flow.rate);
    if (rate <= 0 || each.maxEnergy_J === null || each.maxEnergy_J === undefined) return [];
    const used = sumOf(served, (flow) => flow.energy_J * flow.rate) / rate;
    return [{ group: 'energy', subject: each.id, used, limit: each.maxEnergy_J, unit: 'J' } as const];
  });
}

/** Mean power of the whole fleet: what is drawn anyway, idle of what is on, and the energy of the requests. */
export function powerUse({ problem, flows, powered }: PlanUse): ConstraintUse {
  const idle = sumOf(powered, ([d, on]) => (problem.devices[d]?.idleW ?? 0) * on);
  const used = (problem.budgets.baseW ?? 0) + idle + sumOf(flows, (flow) => flow.energy_J * flow.rate);
  return { group: 'power', subject: '', used, limit: problem.budgets.powerW, unit: 'W' };
}

/** Mean power of each device that has a cap of its own; a pool's total. */
export function devicePowerUses({ problem, flows, powered }: PlanUse): ConstraintUse[] {
  const byDevice = groupBy(flows, (flow) => flow.d);
  return [...powered].flatMap(([d, on]) => {
    const device = problem.devices[d];
    if (device === undefined || device.powerCapW === null || on === 0) return [];
    const used = device.idleW * on + sumOf(byDevice.get(d) ?? [], (flow) => flow.energy_J * flow.rate);
    return [{ group: 'devpower', subject: device.id, used, limit: device.powerCapW * on, unit: 'W' } as const];
  });
}

/** Distinct devices that host a variant fit for each class. */
export function replicaUses({ problem, copies, powered }: PlanUse): ConstraintUse[] {
  const fitting = new Map<number, Map<number, Set<number>>>();
  for (const arc of problem.arcs) {
    const ofClass = fitting.get(arc.k) ?? new Map<number, Set<number>>();
    fitting.set(arc.k, ofClass.set(arc.d, (ofClass.get(arc.d) ?? new Set<number>()).add(arc.v)));
  }
  return problem.classes.flatMap((each, k) => {
    if (each.minReplicas === 0) return [];
    const used = sumOf(fitting.get(k) ?? [], ([d, variants]) => {
      const hosted = sumOf(variants, (v) => copies.get(d)?.get(v) ?? 0);
      return Math.min(hosted, powered.get(d) ?? 0, countOf(problem, d));
    });
    return [{ group: 'replicas', subject: each.id, used, limit: each.minReplicas, unit: 'replicas' } as const];
  });
}

/** Distinct variants hosted anywhere. */
export function variantUses({ problem, plan }: PlanUse): ConstraintUse[] {
  if (problem.budgets.maxVariants === null) return [];
  const used = new Set(plan.placement.filter(([, , count]) => count > 0).map(([, v]) => v)).size;
  return [{ group: 'variants', subject: '', used, limit: problem.budgets.maxVariants, unit: 'variants' }];
}

/** Newly loaded memory. */
export function moveUses({ problem, plan }: PlanUse): ConstraintUse[] {
  if (problem.budgets.moveGiB === null) return [];
  const used = movedGiB(problem, plan.placement);
  return [{ group: 'move', subject: '', used, limit: problem.budgets.moveGiB, unit: 'GiB' }];
}

/** Bounds from below: the plan must use at least the limit. */
const FLOORS: ReadonlySet<ConstraintGroup> = new Set(['demand', 'replicas']);

export const isFloor = (group: ConstraintGroup): boolean => FLOORS.has(group);

/** By how much a use breaks its bound; 0 or less when it holds. */
export const excess = (use: ConstraintUse): number =>
  isFloor(use.group) ? use.limit - use.used : use.used - use.limit;

/** Every bound of the problem with what the plan uses of it. */
export function constraintUses(problem: PlacementProblem, plan: Placement): ConstraintUse[] {
  const use = planUse(problem, plan);
  return [
    powerUse(use),
    ...demandUses(use),
    ...latencyUses(use),
    ...energyUses(use),
    ...utilUses(use),
    ...memoryUses(use),
    ...slotUses(use),
    ...devicePowerUses(use),
    ...replicaUses(use),
    ...variantUses(use),
    ...moveUses(use),
  ];
}

/** The uses that break their bound by more than `tolerance` relative to it. */
export function shortfalls(uses: readonly ConstraintUse[], tolerance: number): ConstraintUse[] {
  return uses.filter((use) => excess(use) > tolerance * Math.max(1e-3, Math.abs(use.limit)));
}
