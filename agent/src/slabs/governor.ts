import { type UnixMs, elapsed } from '@fleetgate/shared/units/quantity';

/** What a device feels of heat and battery. What no sensor tells is left out, and strains nothing. */
export interface DeviceState {
  readonly temperatureC?: number | undefined;
  /** Temperature at which the board slows itself down, degrees Celsius. */
  readonly throttleC?: number | undefined;
  /** True while the board slows itself down. */
  readonly throttled?: boolean | undefined;
  /** 0 empty .. 1 full. */
  readonly batteryRatio?: number | undefined;
  /** False on a charger: then the charge does not matter. */
  readonly onBattery?: boolean | undefined;
}

/** How much a device should spare itself: 0 not at all .. 1 as much as it may. */
export interface Strain {
  readonly ratio: number;
  /** For a person; empty at 0. */
  readonly reason: string;
}

export interface GovernorState {
  readonly strain: Strain;
  /** Since when the device has been less strained than `strain` says; undefined while it is not. */
  readonly easierSince: UnixMs | undefined;
}

export const AT_EASE: GovernorState = { strain: { ratio: 0, reason: '' }, easierSince: undefined };

/** Heat begins to count this far below the temperature at which the board throttles, and counts in full at the second. */
const WARM_BELOW_C = 10;
const HOT_BELOW_C = 3;
/** Boards whose profile does not say when they throttle: arm64 boards and phones do so at 80 and more. */
const UNKNOWN_THROTTLE_C = 80;
/** A battery begins to count below the first, and counts in full at the second. */
const LOW_BATTERY = 0.4;
const EMPTY_BATTERY = 0.15;
/** Strain falls only after the device has been easier for this long, ms: it would swing with every answer otherwise. */
const HOLD_MS = 30_000;

/** Strain of a moment, whatever was before. */
export function strainOf(state: DeviceState): Strain {
  const { temperatureC, throttleC = UNKNOWN_THROTTLE_C, throttled, batteryRatio, onBattery } = state;
  if (throttled === true) return { ratio: 1, reason: 'the board throttles' };
  const heat = temperatureC === undefined ? 0 : share(temperatureC, throttleC - WARM_BELOW_C, throttleC - HOT_BELOW_C);
  const isDraining = onBattery !== false && batteryRatio !== undefined;
  const battery = isDraining ? share(-batteryRatio, -LOW_BATTERY, -EMPTY_BATTERY) : 0;
  if (heat === 0 && battery === 0) return AT_EASE.strain;
  return heat >= battery
    ? { ratio: heat, reason: `${temperatureC?.toFixed(0)} °C, throttles at ${throttleC} °C` }
    : { ratio: battery, reason: `battery at ${Math.round(100 * (batteryRatio ?? 0))} %` };
}

/** The governor's next state: strain rises at once, and falls when it has been lower for half a minute. */
export function govern(before: GovernorState, state: DeviceState, now: UnixMs): GovernorState {
  const strain = strainOf(state);
  if (strain.ratio >= before.strain.ratio) return { strain, easierSince: undefined };
  const easierSince = before.easierSince ?? now;
  if (elapsed(easierSince, now) >= HOLD_MS) return { strain, easierSince: undefined };
  return { strain: before.strain, easierSince };
}

/**
 * Active slabs per token under strain: from `most` at 0 down to `least` at 1, in equal steps (elastic k; SMoE-Dropout,
 * arXiv 2303.01610: a mixture trained with growing k answers with any k). Without a `least` the device may change nothing.
 */
export function governedSlabs(most: number, least: number | undefined, { ratio }: Strain): number {
  const lowest = Math.min(most, Math.max(1, least ?? most));
  return most - Math.round(ratio * (most - lowest));
}

function share(value: number, from: number, to: number): number {
  return Math.min(1, Math.max(0, (value - from) / (to - from)));
}
