import { arcIndexOf } from './arc-index.js';
import { modesOf, type Placement } from './placement.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/** Requests/s over an arc. */
export interface Flow {
  readonly arc: ProblemArc;
  readonly rate: number;
}

/** A plan with its routing joined to the arcs, summed by device and mode. */
export interface PlanUse {
  readonly problem: PlacementProblem;
  readonly plan: Placement;
  readonly flows: readonly Flow[];
  /** Devices switched on, by entry. */
  readonly powered: Float64Array;
  /** Mode m of device d is entry d * `modes` + m of the tables below; a device without modes has only mode 0. */
  readonly modes: number;
  /** Devices in each mode. */
  readonly on: Float64Array;
  /** Devices kept busy in each mode: service times rate. */
  readonly busy: Float64Array;
  /** Energy of the requests answered in each mode, W. */
  readonly dynamicW: Float64Array;
}

/** O(plan + devices), once the arcs are indexed. Routing over arcs that do not exist is left out. */
export function planUse(problem: PlacementProblem, plan: Placement): PlanUse {
  const arcs = arcIndexOf(problem);
  const modes = problem.devices.reduce((most, device) => Math.max(most, device.modes?.length ?? 1), 1);
  const powered = new Float64Array(problem.devices.length);
  const table = () => new Float64Array(problem.devices.length * modes);
  const [on, busy, dynamicW] = [table(), table(), table()];
  for (const [d, count] of plan.poweredOn) {
    powered[d] = count;
    if (problem.devices[d]?.modes === undefined) on[d * modes] = count;
  }
  for (const [d, m, count] of plan.modes ?? []) {
    if (problem.devices[d]?.modes?.[m] !== undefined) on[d * modes + m] = count;
  }
  const flows: Flow[] = [];
  for (const { k, d, v, m, rate } of plan.routing) {
    const arc = arcs.find(d, v, k, m);
    if (arc === undefined) continue;
    flows.push({ arc, rate });
    const at = d * modes + (m ?? 0);
    busy[at] = (busy[at] ?? 0) + arc.service_s * rate;
    dynamicW[at] = (dynamicW[at] ?? 0) + arc.energy_J * rate;
  }
  return { problem, plan, flows, powered, modes, on, busy, dynamicW };
}

/** Idle of what is on of a device and the energy of its requests, W. */
export function drawW({ problem, modes, on, dynamicW }: PlanUse, d: number): number {
  const device = problem.devices[d];
  if (device === undefined) return 0;
  return sumOf(modesOf(device).entries(), ([m, { idleW }]) => {
    const at = d * modes + m;
    return idleW * (on[at] ?? 0) + (dynamicW[at] ?? 0);
  });
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
