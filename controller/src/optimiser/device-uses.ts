/**
 * What a plan uses of the bounds of devices and sites: one named function per constraint. Of a pool slots, memory and
 * power are totals, the busy share is the mean; each power mode of a device is a bound of its own.
 */
import { batteryW, devicesBySite, modesOf } from './placement.js';
import type { ConstraintUse } from './plan.js';
import { drawW, type PlanUse, sumOf } from './plan-use.js';
import type { PlacementProblem, ProblemDevice } from './problem.js';

/** A mode that some device is in, and what is used of it. */
export interface ModeUse {
  readonly device: ProblemDevice;
  readonly powerCapW: number | null;
  /** Devices in this mode, at least 1. */
  readonly on: number;
  /** Devices kept busy. */
  readonly busy: number;
  /** Idle and the energy of the requests, W. */
  readonly drawW: number;
}

/** Every mode that some device is in. */
export function modeUses({ problem, plan, modes, on, busy, dynamicW }: PlanUse): ModeUse[] {
  const uses: ModeUse[] = [];
  for (const [d] of plan.poweredOn) {
    const device = problem.devices[d];
    if (device === undefined) continue;
    modesOf(device).forEach(({ idleW, powerCapW }, m) => {
      const at = d * modes + m;
      const count = on[at] ?? 0;
      if (count === 0) return;
      const drawW = idleW * count + (dynamicW[at] ?? 0);
      uses.push({ device, powerCapW, on: count, busy: busy[at] ?? 0, drawW });
    });
  }
  return uses;
}

/** Busy share of each device that is on. */
export function utilUses(modes: readonly ModeUse[]): ConstraintUse[] {
  return modes.map(({ device, on, busy }) => {
    return { group: 'util', subject: device.id, used: busy / on, limit: device.maxUtil, unit: 'busy share' };
  });
}

/** Sum of a figure of the copies on each device, by device. */
function hosted({ problem, plan }: PlanUse, value: (v: number) => number): Float64Array {
  const totals = new Float64Array(problem.devices.length);
  for (const [d, v, count] of plan.placement) totals[d] = (totals[d] ?? 0) + value(v) * count;
  return totals;
}

/** Copies resident on each device that is on. */
export function slotUses(use: PlanUse): ConstraintUse[] {
  const copies = hosted(use, () => 1);
  return use.plan.poweredOn.flatMap(([d, on]) => {
    const device = use.problem.devices[d];
    if (device === undefined || on === 0) return [];
    const limit = device.slots * on;
    return [{ group: 'slots', subject: device.id, used: copies[d] ?? 0, limit, unit: 'slots' } as const];
  });
}

/** Memory of the copies resident on each device that is on. */
export function memoryUses(use: PlanUse): ConstraintUse[] {
  const memory = hosted(use, (v) => use.problem.variants[v]?.memGiB ?? 0);
  return use.plan.poweredOn.flatMap(([d, on]) => {
    const device = use.problem.devices[d];
    if (device === undefined || on === 0) return [];
    const limit = device.memGiB * on;
    return [{ group: 'memory', subject: device.id, used: memory[d] ?? 0, limit, unit: 'GiB' } as const];
  });
}

/** Mean power of each device whose mode has a cap. */
export function devicePowerUses(modes: readonly ModeUse[]): ConstraintUse[] {
  return modes.flatMap(({ device, powerCapW, on, drawW }) => {
    if (powerCapW === null) return [];
    return [{ group: 'devpower', subject: device.id, used: drawW, limit: powerCapW * on, unit: 'W' } as const];
  });
}

/** Energy that each device on a battery draws over the horizon. */
export function batteryUses(problem: PlacementProblem, modes: readonly ModeUse[]): ConstraintUse[] {
  const horizon = problem.budgets.horizon_s ?? 0;
  return modes.flatMap(({ device, on, drawW }) => {
    const capW = batteryW(problem, device);
    if (capW === undefined) return [];
    const [used, limit] = [drawW * horizon, capW * horizon * on];
    return [{ group: 'battery', subject: device.id, used, limit, unit: 'J' } as const];
  });
}

/** Mean power of the devices of each site that has a cap. */
export function sitePowerUses(use: PlanUse): ConstraintUse[] {
  const members = devicesBySite(use.problem);
  return (use.problem.sites ?? []).flatMap(({ id, powerW }, s) => {
    if (powerW === undefined || powerW === null) return [];
    const used = sumOf(members[s] ?? [], (d) => drawW(use, d));
    return [{ group: 'sitepower', subject: id, used, limit: powerW, unit: 'W' } as const];
  });
}

/** Traffic of the requests over the uplink of each site whose capacity is known. */
export function networkUses({ problem, flows }: PlanUse): ConstraintUse[] {
  const sites = problem.sites ?? [];
  const traffic = new Float64Array(sites.length);
  for (const { arc, rate } of sites.length === 0 ? [] : flows) {
    const site = problem.devices[arc.d]?.site;
    if (site !== undefined) traffic[site] = (traffic[site] ?? 0) + (problem.classes[arc.k]?.requestBits ?? 0) * rate;
  }
  return sites.flatMap(({ id, networkBps }, s) => {
    if (networkBps === undefined || networkBps === null) return [];
    return [{ group: 'network', subject: id, used: traffic[s] ?? 0, limit: networkBps, unit: 'bit/s' } as const];
  });
}
