/** Time series for the charts, from requests and power samples. Pure. Times in seconds, as uPlot wants them. */
import type { RequestView } from '@fleetgate/shared/api/operations';

import type { PowerSample } from '../state/live.js';

export type Column = readonly (number | null)[];

/** Requests and their joules in buckets of `stepMs` over the `spanMs` before `toMs`, by when they ended. */
export function requestSeries(
  requests: readonly RequestView[],
  toMs: number,
  spanMs: number,
  stepMs: number,
): { readonly timesS: readonly number[]; readonly requests: readonly number[]; readonly energyJ: readonly number[] } {
  const n = Math.round(spanMs / stepMs);
  const end = Math.ceil(toMs / stepMs) * stepMs;
  const start = end - n * stepMs;
  const requestsPer = Array.from({ length: n }, () => 0);
  const energyPer = Array.from({ length: n }, () => 0);
  for (const request of requests) {
    const at = request.endedAtMs ?? request.receivedAtMs;
    const bucket = Math.floor((at - start) / stepMs);
    if (bucket < 0 || bucket >= n) continue;
    requestsPer[bucket] = (requestsPer[bucket] ?? 0) + 1;
    energyPer[bucket] = (energyPer[bucket] ?? 0) + (request.actual?.energyJ ?? 0);
  }
  return {
    timesS: Array.from({ length: n }, (_, i) => (start + i * stepMs) / 1000),
    requests: requestsPer,
    energyJ: energyPer,
  };
}

/**
 * Power of each device on one grid of `stepMs`: the mean of the samples in a step, the last value carried on over at
 * most `holdMs` (minute rollups come a minute apart), null where nothing is known.
 */
export function powerSeries(
  power: ReadonlyMap<string, readonly PowerSample[]>,
  toMs: number,
  spanMs: number,
  stepMs: number,
  holdMs: number,
): {
  readonly timesS: readonly number[];
  readonly devices: readonly { readonly id: string; readonly watts: Column }[];
} {
  const n = Math.round(spanMs / stepMs);
  const end = Math.ceil(toMs / stepMs) * stepMs;
  const start = end - n * stepMs;
  const devices = [...power].map(([id, samples]) => {
    const sums = Array.from({ length: n }, () => ({ sum: 0, n: 0, last: -Infinity }));
    for (const sample of samples) {
      const slot = sums[Math.floor((sample.atMs - start) / stepMs)];
      if (slot === undefined) continue;
      slot.sum += sample.powerW;
      slot.n += 1;
      slot.last = sample.atMs;
    }
    let held: { value: number; atMs: number } | null = null;
    const watts = sums.map((slot, i): number | null => {
      const atMs = start + i * stepMs;
      if (slot.n > 0) held = { value: slot.sum / slot.n, atMs: slot.last };
      return held !== null && atMs - held.atMs <= holdMs && atMs <= toMs ? held.value : null;
    });
    return { id, watts };
  });
  return {
    timesS: Array.from({ length: n }, (_, i) => (start + i * stepMs) / 1000),
    devices: devices.sort((a, b) => (a.id < b.id ? -1 : 1)),
  };
}
