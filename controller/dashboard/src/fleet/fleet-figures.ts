/** Figures of the fleet and of one device, from what the controller told. Pure. */
import type { DeviceView, RequestView } from '@fleetgate/shared/api/operations';

import type { PowerSample } from '../state/live.js';

export type SourceLabel = 'measured' | 'modelled' | 'mixed';

export interface FleetFigures {
  readonly total: number;
  readonly online: number;
  /** Sum over online devices that report power; null when none does. */
  readonly powerW: number | null;
  readonly powerSource: SourceLabel | null;
  readonly tokensPerS: number;
  readonly running: number;
  readonly queued: number;
}

export function fleetFigures(devices: Iterable<DeviceView>): FleetFigures {
  let total = 0;
  let online = 0;
  let powerW: number | null = null;
  let tokensPerS = 0;
  let running = 0;
  let queued = 0;
  const sources = new Set<'measured' | 'modelled'>();
  for (const device of devices) {
    total += 1;
    if (device.state !== 'online') continue;
    online += 1;
    if (device.last.powerW !== undefined) {
      powerW = (powerW ?? 0) + device.last.powerW;
      if (device.power !== null) sources.add(device.power.source);
    }
    tokensPerS += device.last.outputTokensPerS ?? 0;
    running += device.last.runningJobs ?? 0;
    queued += device.last.queuedJobs ?? 0;
  }
  const [first] = sources;
  return {
    total,
    online,
    powerW,
    powerSource: sources.size > 1 ? 'mixed' : (first ?? null),
    tokensPerS,
    running,
    queued,
  };
}

/** Mean energy above idle of the requests that ended with an answer since `sinceMs`; null when there is none. */
export function meanEnergyJ(requests: readonly RequestView[], sinceMs: number): number | null {
  let sum = 0;
  let n = 0;
  for (const request of requests) {
    if (request.receivedAtMs < sinceMs || request.state !== 'succeeded' || request.actual === null) continue;
    sum += request.actual.energyJ;
    n += 1;
  }
  return n === 0 ? null : sum / n;
}

/** How a device stands, in one word and one tone. */
export interface DeviceStanding {
  readonly word: string;
  readonly tone: 'good' | 'busy' | 'warn' | 'off';
}

export function standing(device: DeviceView): DeviceStanding {
  if (device.state === 'never-seen') return { word: 'never seen', tone: 'off' };
  if (device.state === 'offline') return { word: 'offline', tone: 'off' };
  if (device.engine !== null && device.engine.state !== 'ready') {
    return { word: `engine ${device.engine.state}`, tone: 'warn' };
  }
  if (device.variants.some((variant) => variant.residency === 'failed')) return { word: 'needs a look', tone: 'warn' };
  switch (device.activity) {
    case 'starting':
    case 'measuring':
    case 'draining':
      return { word: device.activity, tone: 'busy' };
    case 'standby':
      return { word: 'standby', tone: 'off' };
    case 'active':
    case 'unknown':
      return device.settled ? { word: 'online', tone: 'good' } : { word: 'settling', tone: 'busy' };
  }
}

/** Points of a sparkline in a box of `width` x `height`, time to the right, zero at the bottom; empty below 2 samples. */
export function sparkline(
  samples: readonly PowerSample[],
  toMs: number,
  spanMs: number,
  width: number,
  height: number,
) {
  const shown = samples.filter((sample) => sample.atMs >= toMs - spanMs);
  if (shown.length < 2) return '';
  const most = Math.max(...shown.map((sample) => sample.powerW), 1e-9) * 1.1;
  return shown
    .map((sample) => {
      const x = width * Math.max(0, 1 - (toMs - sample.atMs) / spanMs);
      const y = height * (1 - sample.powerW / most);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    })
    .join(' ');
}
