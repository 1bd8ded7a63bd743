import type { DeviceId, VariantId } from '@fleetgate/shared/ids';

import { type PlanRecord, placementsOf, poweredOn } from './plan-record.js';

/** What changes on one device from plan to plan. */
export interface DeviceDiff {
  readonly deviceId: DeviceId;
  readonly load: readonly VariantId[];
  readonly unload: readonly VariantId[];
  readonly power: 'on' | 'off' | 'unchanged';
}

/** Devices whose part in the plan changes, by id; empty when nothing moves. */
export function diffPlan(before: PlanRecord | undefined, after: PlanRecord): DeviceDiff[] {
  const [oldPlaced, newPlaced] = [
    before === undefined ? new Map() : placementsOf(before),
    placementsOf(after),
  ] as const;
  const [oldOn, newOn] = [before === undefined ? new Set<DeviceId>() : poweredOn(before), poweredOn(after)];
  const devices = [...new Set<DeviceId>([...oldPlaced.keys(), ...newPlaced.keys(), ...oldOn, ...newOn])].sort();
  return devices.flatMap((deviceId) => {
    const had = new Set<VariantId>(oldPlaced.get(deviceId));
    const has = new Set<VariantId>(newPlaced.get(deviceId));
    const load = [...has].filter((variant) => !had.has(variant));
    const unload = [...had].filter((variant) => !has.has(variant));
    const power = oldOn.has(deviceId) === newOn.has(deviceId) ? 'unchanged' : newOn.has(deviceId) ? 'on' : 'off';
    return load.length === 0 && unload.length === 0 && power === 'unchanged' ? [] : [{ deviceId, load, unload, power }];
  });
}
