import type { DeviceId } from '@fleetgate/shared/ids';
import type { Metric } from '@fleetgate/shared/protocol/telemetry';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';

import type { Rollup } from './telemetry-store.js';

const MINUTE_MS = 60_000;

/** The start of the minute that holds `instant`. */
export const minuteOf = (instant: number): UnixMs => unixMs(Math.floor(instant / MINUTE_MS) * MINUTE_MS);

/** Both together: what the samples of either would have given in one. */
export function mergeRollups(a: Rollup, b: Rollup): Rollup {
  return {
    ...a,
    n: a.n + b.n,
    sum: a.sum + b.sum,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

/** Rollups of the minutes in which samples have come since the last `take`. Holds at most `capacity` of them. */
export class MinuteWindow {
  readonly #capacity: number;
  #rollups = new Map<string, Rollup>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Adds to the rollup of the same device, metric and minute. False when that would be one too many. */
  add(rollup: Rollup): boolean {
    const key = `${rollup.start} ${rollup.metric} ${rollup.deviceId}`;
    const known = this.#rollups.get(key);
    if (known === undefined && this.#rollups.size >= this.#capacity) return false;
    this.#rollups.set(key, known === undefined ? rollup : mergeRollups(known, rollup));
    return true;
  }

  /** All rollups; the window is empty after it. */
  take(): readonly Rollup[] {
    const rollups = [...this.#rollups.values()];
    this.#rollups = new Map();
    return rollups;
  }
}

/** A column of samples as one rollup a minute, in order of time. Missing samples are skipped. */
export function rollUp(column: {
  readonly deviceId: DeviceId;
  readonly metric: Metric;
  readonly firstAt: number;
  readonly dtMs: number;
  readonly values: readonly (number | null)[];
}): readonly Rollup[] {
  const { deviceId, metric, firstAt, dtMs, values } = column;
  const rollups: Rollup[] = [];
  let at = 0;
  while (at < values.length) {
    const start = minuteOf(firstAt + at * dtMs);
    let n = 0;
    let sum = 0;
    let min = Infinity;
    let max = -Infinity;
    do {
      const value = values[at];
      if (value !== null && value !== undefined) {
        n += 1;
        sum += value;
        if (value < min) min = value;
        if (value > max) max = value;
      }
      at += 1;
    } while (at < values.length && firstAt + at * dtMs < start + MINUTE_MS);
    if (n > 0) rollups.push({ deviceId, metric, start, n, sum, min, max });
  }
  return rollups;
}
