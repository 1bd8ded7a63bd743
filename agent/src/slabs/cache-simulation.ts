import type { CachePolicy, RoutingTrace, SlabId } from './cache-policy.js';
import { type CacheShape, SlabCache } from './slab-cache.js';

/** What a policy would have done with a trace. Counts begin after the tokens of warming up. */
export interface SimulatedCache {
  readonly policy: string;
  readonly routed: number;
  readonly hits: number;
  /** 0..1. */
  readonly hitRate: number;
  readonly bytesRead: number;
  readonly bytesPerToken: number;
}

export interface SimulationOptions {
  /** Evaluations before counting starts. */
  readonly warmUp: number;
  /** Whether the slabs worth most by the policy's first scores are in memory at the beginning. */
  readonly filled: boolean;
  /** The router's scores of all slabs, where they are known: `[evaluation][layer]`. */
  readonly probabilities?: readonly (readonly Float32Array[])[] | undefined;
}

/**
 * Runs a policy over a trace of single-token evaluations. A layer whose slabs do not fit together counts all of them as
 * read. O(uses x (layers + log slabs)).
 */
export function simulateCache(
  trace: RoutingTrace,
  shape: CacheShape,
  policy: CachePolicy,
  { warmUp, filled, probabilities }: SimulationOptions,
): SimulatedCache {
  const cache = new SlabCache(shape, policy);
  if (filled) {
    const slabs = cache.worthMost();
    cache.request(slabs);
    cache.release(slabs);
  }
  let [routed, hits, bytesRead] = [0, 0, 0];
  for (const [evaluation, layers] of trace.entries()) {
    cache.begin(1);
    for (const [layer, used] of layers.entries()) {
      const wanted = distinctSlabs(layer, used, shape.slabsPerLayer);
      const scores = probabilities?.[evaluation]?.[layer];
      const choice = { layer, tokens: 1, slabsPerToken: used.length, slabs: used };
      cache.routed(scores === undefined ? choice : { ...choice, probabilities: scores });
      const missing = cache.request(wanted)?.missing.length ?? wanted.length;
      cache.release(wanted);
      if (evaluation < warmUp) continue;
      routed += wanted.length;
      hits += wanted.length - missing;
      bytesRead += missing * (shape.slabBytes[layer] ?? 0);
    }
  }
  const tokens = Math.max(1, trace.length - warmUp);
  const hitRate = routed === 0 ? 1 : hits / routed;
  return { policy: policy.name, routed, hits, hitRate, bytesRead, bytesPerToken: bytesRead / tokens };
}

/** The slabs of a layer's use, each once, in order of first use. */
export function distinctSlabs(layer: number, slabs: Int32Array, slabsPerLayer: number): SlabId[] {
  return [...new Set(slabs)].map((slab) => layer * slabsPerLayer + slab);
}

/** How often each slab was used per token: what a policy may be seeded with. */
export function frequenciesOf(trace: RoutingTrace, shape: CacheShape): Float64Array {
  const frequencies = new Float64Array(shape.slabsPerLayer * shape.slabBytes.length);
  for (const layers of trace) {
    for (const [layer, used] of layers.entries()) {
      for (const slab of used) {
        const id = layer * shape.slabsPerLayer + slab;
        frequencies[id] = (frequencies[id] ?? 0) + 1 / trace.length;
      }
    }
  }
  return frequencies;
}
