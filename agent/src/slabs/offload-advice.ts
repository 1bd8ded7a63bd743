import { belady, type CachePolicy, decayedFrequency, type RoutingTrace } from './cache-policy.js';
import { frequenciesOf, simulateCache } from './cache-simulation.js';
import type { CacheShape } from './slab-cache.js';

/** How often slabs are found in memory, by how many of them are. */
export interface MissPoint {
  /** Of the slabs' bytes, the share in memory; 0..1. */
  readonly residentShare: number;
  readonly hitRate: number;
  readonly bytesPerToken: number;
  /** Of the policy that knows the future: what no other can do better than. */
  readonly bestBytesPerToken: number;
}

export interface OffloadDevice {
  /** Bytes of slabs that fit into its memory. */
  readonly budgetBytes: number;
  /** Of its storage, in reads as large as slabs. */
  readonly bytesPerSecond: number;
  /** Of a token whose slabs are all in memory. */
  readonly computeMs: number;
}

export interface OffloadForecast {
  readonly hitRate: number;
  readonly bytesPerToken: number;
  /** Time that storage needs for that: no token can be quicker. */
  readonly floorMs: number;
  /** Reading and computing one after the other, as a layer's computation has to wait for its slabs. */
  readonly msPerToken: number;
  readonly tokensPerSecond: number;
  /** Against the same device with all slabs in memory; 0..1. */
  readonly speedShare: number;
}

/**
 * What a cache of each size would read, by simulating a trace: the first `warmUp` tokens fill it and are not counted.
 * The policy starts from what the first half of the trace used, so as not to know what it is judged by.
 */
export function missCurve(
  trace: RoutingTrace,
  shape: Omit<CacheShape, 'capacityBytes'>,
  residentShares: readonly number[],
  policyOf: (frequencies: Float64Array) => CachePolicy = (frequencies) =>
    decayedFrequency(frequencies.length, frequencies),
): readonly MissPoint[] {
  const { slabsPerLayer, slabBytes } = shape;
  const all = slabBytes.reduce((sum, bytes) => sum + slabsPerLayer * bytes, 0);
  const half = Math.ceil(trace.length / 2);
  const seed = frequenciesOf(trace.slice(0, half), { ...shape, capacityBytes: 0 });
  const judged = trace.slice(trace.length > 1 ? half : 0);
  const options = { warmUp: 0, filled: true };
  return residentShares.map((residentShare) => {
    const sized = { ...shape, capacityBytes: Math.floor(residentShare * all) };
    const { hitRate, bytesPerToken } = simulateCache(judged, sized, policyOf(seed.slice()), options);
    const best = simulateCache(judged, sized, belady(seed.length, slabsPerLayer, judged), options);
    return { residentShare, hitRate, bytesPerToken, bestBytesPerToken: best.bytesPerToken };
  });
}

/** What a device can expect of a model of that curve; between two points of it, what lies between. Undefined: no curve. */
export function forecastOffload(
  curve: readonly MissPoint[],
  slabsBytes: number,
  device: OffloadDevice,
): OffloadForecast | undefined {
  const share = Math.min(1, device.budgetBytes / slabsBytes);
  const sorted = curve.toSorted((a, b) => a.residentShare - b.residentShare);
  const above = sorted.find((point) => point.residentShare >= share) ?? sorted.at(-1);
  const below = sorted.findLast((point) => point.residentShare <= share) ?? sorted[0];
  if (above === undefined || below === undefined) return undefined;
  const width = above.residentShare - below.residentShare;
  const way = width === 0 ? 0 : (share - below.residentShare) / width;
  const between = (of: (point: MissPoint) => number): number => of(below) + way * (of(above) - of(below));
  const bytesPerToken = between((point) => point.bytesPerToken);
  const floorMs = (1000 * bytesPerToken) / device.bytesPerSecond;
  const msPerToken = device.computeMs + floorMs;
  return {
    hitRate: between((point) => point.hitRate),
    bytesPerToken,
    floorMs,
    msPerToken,
    tokensPerSecond: 1000 / msPerToken,
    speedShare: device.computeMs / msPerToken,
  };
}
