import { arcIndexOf } from './arc-index.js';
import { modesOf, type Placement } from './placement.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** Requests/s over an arc. */
export interface Flow {
  readonly arc: ProblemArc;
  readonly rate: number;
}

/** A plan with its routing joined to the arcs, by device and by class. */
export interface PlanUse {
  readonly problem: PlacementProblem;
  readonly plan: Placement;
  readonly flows: readonly Flow[];
  readonly flowsByDevice: ReadonlyMap<number, readonly Flow[]>;
  readonly flowsByClass: ReadonlyMap<number, readonly Flow[]>;
  /** Copies by device, then variant. */
  readonly copies: ReadonlyMap<number, ReadonlyMap<number, number>>;
  /** Devices switched on, by entry; 0 is left out. */
  readonly powered: ReadonlyMap<number, number>;
  /** The same by mode; a device without modes has only mode 0. */
  readonly inMode: ReadonlyMap<number, readonly number[]>;
}

/** O(plan), once the arcs are indexed. Routing over arcs that do not exist is left out. */
export function planUse(problem: PlacementProblem, plan: Placement): PlanUse {
  const arcs = arcIndexOf(problem);
  const copies = new Map<number, Map<number, number>>();
  for (const [d, v, count] of plan.placement) {
    const ofDevice = copies.get(d) ?? new Map<number, number>();
    copies.set(d, ofDevice.set(v, (ofDevice.get(v) ?? 0) + count));
  }
  const flows: Flow[] = [];
  for (const { k, d, v, m, rate } of plan.routing) {
    const arc = arcs.find(d, v, k, m);
    if (arc !== undefined) flows.push({ arc, rate });
  }
  return {
    ...{ problem, plan, flows, copies },
    flowsByDevice: groupBy(flows, ({ arc }) => arc.d),
    flowsByClass: groupBy(flows, ({ arc }) => arc.k),
    powered: new Map(plan.poweredOn.filter(([, on]) => on > 0)),
    inMode: devicesInMode(problem, plan),
  };
}

/** Devices that are on, by entry, then mode; a device without modes has only mode 0. */
export function devicesInMode(
  problem: PlacementProblem,
  plan: Pick<Placement, 'poweredOn' | 'modes'>,
): Map<number, number[]> {
  const inMode = new Map<number, number[]>();
  for (const [d, on] of plan.poweredOn) {
    const device = problem.devices[d];
    if (device !== undefined && on > 0) inMode.set(d, device.modes === undefined ? [on] : device.modes.map(() => 0));
  }
  for (const [d, m, on] of plan.modes ?? []) {
    const ofDevice = problem.devices[d]?.modes === undefined ? undefined : inMode.get(d);
    if (ofDevice !== undefined) ofDevice[m] = (ofDevice[m] ?? 0) + on;
  }
  return inMode;
}

export function sumOf<T>(items: Iterable<T>, value: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += value(item);
  return total;
}

function groupBy<T>(items: Iterable<T>, key: (item: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const of = key(item);
    const group = groups.get(of);
    if (group === undefined) groups.set(of, [item]);
    else group.push(item);
  }
  return groups;
}

/** Energy of the requests over some flows, W. */
export const dynamicW = (flows: Iterable<Flow>): number => sumOf(flows, ({ arc, rate }) => arc.energy_J * rate);

/** Idle of what is on of an entry, W. */
export function idleW({ problem, inMode }: PlanUse, d: number): number {
  const device = problem.devices[d];
  const ofDevice = inMode.get(d);
  if (device === undefined || ofDevice === undefined) return 0;
  return sumOf(modesOf(device).entries(), ([m, mode]) => mode.idleW * (ofDevice[m] ?? 0));
}
