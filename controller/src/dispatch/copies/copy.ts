import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId } from '@fleetgate/shared/ids';
import type { Reported } from '@fleetgate/shared/protocol/twin';

import type { CostProfile } from '../../telemetry/cost.js';
import type { Exclusion } from '../candidates.js';

/** A variant that is placed, and where it and its expert are in the lists of all that are. */
export interface PlacedVariant {
  readonly variant: Variant;
  readonly variantAt: number;
  readonly expertAt: number;
}

/**
 * One variant on one of the devices that the plan places it on. There are many, and each decision weighs them all: it writes
 * numbers into those that are there rather than to make new ones.
 */
export class Copy {
  readonly deviceId: DeviceId;
  readonly placed: PlacedVariant;
  /** What the device says of it. */
  reported: Reported['variants'][number] | undefined;
  /** Most tokens that it is to be served with. */
  contextTokens: number;
  /** Undefined where nothing is known of its costs. */
  profile: CostProfile | undefined;

  // What the present decision makes of it, until the next one.
  quality = NaN;
  /** Milliseconds on an idle device, and joules; 0 where costs are not known. */
  latency = NaN;
  energy = NaN;
  /** Milliseconds before it would start. */
  wait = NaN;
  /** At the request's prices; -Infinity where costs are not known. */
  value = NaN;
  excluded: Exclusion | undefined;

  constructor(deviceId: DeviceId, placed: PlacedVariant) {
    this.deviceId = deviceId;
    this.placed = placed;
    this.reported = undefined;
    this.contextTokens = placed.variant.facts.contextTokens;
    this.profile = undefined;
    this.excluded = undefined;
  }
}

/** Whether one comes before another: as `byPreference` (`select.ts`) ranks candidates. */
export function precedes(one: Copy, other: Copy): boolean {
  const isOpen = one.excluded === undefined;
  if (isOpen !== (other.excluded === undefined)) return isOpen;
  if (one.value !== other.value) return one.value > other.value;
  const [time, otherTime] = [one.latency + one.wait, other.latency + other.wait];
  if (time !== otherTime) return time < otherTime;
  if (one.energy !== other.energy) return one.energy < other.energy;
  const [variant, otherVariant] = [one.placed.variant.id, other.placed.variant.id];
  return variant === otherVariant ? one.deviceId < other.deviceId : variant < otherVariant;
}
