/**
 * What a plan uses of the bounds of devices and sites: one named function per constraint. Of a pool slots, memory and
 * power are totals, the busy share is the mean; each power mode of a device is a bound of its own.
 */
import { batteryW, devicesBySite, modesOf } from './placement.js';
import type { ConstraintUse } from './plan.js';
import { dynamicW, type Flow, idleW, type PlanUse, sumOf } from './plan-use.js';
import type { PlacementProblem, ProblemDevice } from './problem.js';

/** A mode that some device is in, with the requests that it answers. */
export interface ModeUse {
  readonly d: number;
  readonly device: ProblemDevice;
  /** Of the mode that is in force, W. */
  readonly idleW: number;
  readonly powerCapW: number | null;
  /** Devices in this mode, at least 1. */
  readonly on: number;
  readonly flows: readonly Flow[];
}

/** Every mode that some device is in. */
export function modeUses({ problem, inMode, flowsByDevice }: PlanUse): ModeUse[] {
  return [...inMode].flatMap(([d, ofDevice]) => {
    const device = problem.devices[d];
    if (device === undefined) return [];
    const flows = flowsByDevice.get(d) ?? [];
    return modesOf(device).flatMap(({ idleW, powerCapW }, m) => {
      const on = ofDevice[m] ?? 0;
      const own = device.modes === undefined ? flows : flows.filter(({ arc }) => (arc.m ?? 0) === m);
      return on > 0 ? [{ d, device, idleW, powerCapW, on, flows: own }] : [];
    });
  });
}

/** Busy share of each device that is on. */
export function utilUses(modes: readonly ModeUse[]): ConstraintUse[] {
  return modes.map(({ device, on, flows }) => {
    const used = sumOf(flows, ({ arc, rate }) => arc.service_s * rate) / on;
    return { group: 'util', subject: device.id, used, limit: device.maxUtil, unit: 'busy share' };
  });
}

/** Copies resident on each device that is on. */
export function slotUses({ problem, copies, powered }: PlanUse): ConstraintUse[] {
  return [...powered].flatMap(([d, on]) => {
    const device = problem.devices[d];
    if (device === undefined) return [];
    const used = sumOf(copies.get(d)?.values() ?? [], (count) => count);
    return [{ group: 'slots', subject: device.id, used, limit: device.slots * on, unit: 'slots' } as const];
  });
}

/** Memory of the copies resident on each device that is on. */
export function memoryUses({ problem, copies, powered }: PlanUse): ConstraintUse[] {
  return [...powered].flatMap(([d, on]) => {
    const device = problem.devices[d];
    if (device === undefined) return [];
    const used = sumOf(copies.get(d) ?? [], ([v, count]) => (problem.variants[v]?.memGiB ?? 0) * count);
    return [{ group: 'memory', subject: device.id, used, limit: device.memGiB * on, unit: 'GiB' } as const];
  });
}

/** Mean power of each device whose mode has a cap. */
export function devicePowerUses(modes: readonly ModeUse[]): ConstraintUse[] {
  return modes.flatMap(({ device, idleW, powerCapW, on, flows }) => {
    if (powerCapW === null) return [];
    const used = idleW * on + dynamicW(flows);
    return [{ group: 'devpower', subject: device.id, used, limit: powerCapW * on, unit: 'W' } as const];
  });
}

/** Energy that each device on a battery draws over the horizon. */
export function batteryUses(problem: PlacementProblem, modes: readonly ModeUse[]): ConstraintUse[] {
  const horizon = problem.budgets.horizon_s ?? 0;
  return modes.flatMap(({ device, idleW, on, flows }) => {
    const capW = batteryW(problem, device);
    if (capW === undefined) return [];
    const used = (idleW * on + dynamicW(flows)) * horizon;
    return [{ group: 'battery', subject: device.id, used, limit: capW * horizon * on, unit: 'J' } as const];
  });
}

/** Mean power of the devices of each site that has a cap. */
export function sitePowerUses(use: PlanUse): ConstraintUse[] {
  const members = devicesBySite(use.problem);
  return (use.problem.sites ?? []).flatMap(({ id, powerW }, s) => {
    if (powerW === undefined || powerW === null) return [];
    const used = sumOf(members[s] ?? [], (d) => idleW(use, d) + dynamicW(use.flowsByDevice.get(d) ?? []));
    return [{ group: 'sitepower', subject: id, used, limit: powerW, unit: 'W' } as const];
  });
}

/** Traffic of the requests over the uplink of each site whose capacity is known. */
export function networkUses({ problem, flowsByDevice }: PlanUse): ConstraintUse[] {
  const members = devicesBySite(problem);
  const traffic = (flow: Flow) => (problem.classes[flow.arc.k]?.requestBits ?? 0) * flow.rate;
  return (problem.sites ?? []).flatMap(({ id, networkBps }, s) => {
    if (networkBps === undefined || networkBps === null) return [];
    const used = sumOf(members[s] ?? [], (d) => sumOf(flowsByDevice.get(d) ?? [], traffic));
    return [{ group: 'network', subject: id, used, limit: networkBps, unit: 'bit/s' } as const];
  });
}
