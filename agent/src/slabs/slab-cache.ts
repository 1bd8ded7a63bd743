import { FleetError } from '@fleetgate/shared/errors';

import type { CachePolicy, SlabId } from './cache-policy.js';
import type { RoutedLayer } from './routing.js';
import { SlabHeap } from './slab-heap.js';

export interface CacheShape {
  readonly slabsPerLayer: number;
  /** Bytes of one slab, layer by layer. */
  readonly slabBytes: readonly number[];
  /** Bytes that the slabs in memory may take together. */
  readonly capacityBytes: number;
}

/** What has to happen in memory, in this order. */
export interface Admission {
  readonly evicted: readonly SlabId[];
  /** To be read. They count as in memory from now on, and stay until they are released. */
  readonly missing: readonly SlabId[];
}

/** Where to take room from: anywhere, or from layers below one first, as when a batch streams the model layer by layer. */
export type EvictFrom = { readonly kind: 'anywhere' } | { readonly kind: 'below-first'; readonly layer: number };

export const ANYWHERE: EvictFrom = { kind: 'anywhere' };

/**
 * Decides which slabs are in memory. Keeps one heap a layer: a decision costs O(layers + log slabs).
 *
 * Slabs asked for are held, and never evicted, until `release`. The capacity is never exceeded, but by what is held when it
 * becomes less.
 */
export class SlabCache {
  readonly #shape: CacheShape;
  #capacityBytes: number;
  readonly #policy: CachePolicy;
  readonly #heaps: readonly SlabHeap[];
  readonly #resident: Uint8Array;
  readonly #held: Uint8Array;
  #bytes = 0;
  #tokens = 1;

  constructor(shape: CacheShape, policy: CachePolicy) {
    this.#shape = shape;
    this.#capacityBytes = shape.capacityBytes;
    this.#policy = policy;
    const { slabsPerLayer, slabBytes } = shape;
    this.#heaps = slabBytes.map((_, layer) => new SlabHeap(policy.scores, layer * slabsPerLayer, slabsPerLayer));
    this.#resident = new Uint8Array(slabsPerLayer * slabBytes.length);
    this.#held = new Uint8Array(slabsPerLayer * slabBytes.length);
  }

  /** Bytes of the slabs in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  isResident(slab: SlabId): boolean {
    return this.#resident[slab] === 1;
  }

  isHeld(slab: SlabId): boolean {
    return this.#held[slab] === 1;
  }

  begin(tokens: number): void {
    this.#tokens = tokens;
    this.#policy.begin(tokens);
  }

  /** Tells the policy what the router chose in the running evaluation. */
  routed({ layer, tokens, slabsPerToken, slabs, probabilities }: RoutedLayer): void {
    const { slabsPerLayer } = this.#shape;
    const first = layer * slabsPerLayer;
    for (let t = 0; t < tokens; t++) {
      // The last layer may be computed for some of the tokens only.
      const token = Math.floor((t * this.#tokens) / tokens);
      if (probabilities !== undefined && this.#policy.scored !== undefined) {
        const scores = probabilities.subarray(t * slabsPerLayer, (t + 1) * slabsPerLayer);
        this.#policy.scored(first, scores, slabsPerToken, token);
        continue;
      }
      for (let i = 0; i < slabsPerToken; i++) this.#policy.used(first + (slabs[t * slabsPerToken + i] ?? 0), token);
    }
    this.#heaps[layer]?.rescored();
  }

  /** Tells the policy what is likely to be used from now on: uses per token of each slab. */
  expect(frequencies: ArrayLike<number>): void {
    this.#policy.expected?.(frequencies);
    for (const heap of this.#heaps) heap.rescored();
  }

  /**
   * Takes in all of `wanted` (each named once) and holds them. Undefined, and nothing changed, where they do not fit
   * beside what is held.
   */
  request(wanted: readonly SlabId[], from: EvictFrom = ANYWHERE): Admission | undefined {
    const fresh = wanted.filter((slab) => this.#held[slab] !== 1);
    for (const slab of fresh) this.#hold(slab);
    const missing = fresh.filter((slab) => this.#resident[slab] !== 1);
    const needed = missing.reduce((sum, slab) => sum + this.#bytesOf(slab), 0);
    const victims: SlabId[] = [];
    let freed = 0;
    while (this.#bytes - freed + needed > this.#capacityBytes) {
      const victim = this.#lowest(from);
      if (victim === undefined) {
        for (const one of victims) this.#heaps[this.#layerOf(one)]?.add(one);
        this.release(fresh);
        return undefined;
      }
      this.#heaps[this.#layerOf(victim)]?.remove(victim);
      victims.push(victim);
      freed += this.#bytesOf(victim);
    }
    for (const victim of victims) this.#resident[victim] = 0;
    for (const slab of missing) this.#resident[slab] = 1;
    this.#bytes += needed - freed;
    return { evicted: victims, missing };
  }

  /** Gives the slabs that are in memory more room or less; those evicted for it. What is held stays, whatever it takes. */
  resize(capacityBytes: number): readonly SlabId[] {
    this.#capacityBytes = capacityBytes;
    const evicted: SlabId[] = [];
    while (this.#bytes > capacityBytes) {
      const victim = this.#lowest(ANYWHERE);
      if (victim === undefined) break;
      this.drop(victim);
      evicted.push(victim);
    }
    return evicted;
  }

  /** Lets go of slabs that were asked for: they may be evicted from now on. */
  release(slabs: Iterable<SlabId>): void {
    for (const slab of slabs) {
      this.#held[slab] = 0;
      if (this.#resident[slab] === 1) this.#heaps[this.#layerOf(slab)]?.add(slab);
    }
  }

  /** Forgets a slab whose bytes did not come; held or not. */
  drop(slab: SlabId): void {
    this.#heaps[this.#layerOf(slab)]?.remove(slab);
    if (this.#resident[slab] === 1) this.#bytes -= this.#bytesOf(slab);
    this.#resident[slab] = 0;
    this.#held[slab] = 0;
  }

  /** Whether taking in a slab would not push out one that is worth more. */
  isWorthRoom(slab: SlabId): boolean {
    if (this.#bytes + this.#bytesOf(slab) <= this.#capacityBytes) return true;
    const lowest = this.#lowest(ANYWHERE);
    return lowest !== undefined && (this.#policy.scores[lowest] ?? 0) < (this.#policy.scores[slab] ?? 0);
  }

  /** The slabs of the highest scores that fit into the capacity together, highest first. */
  worthMost(): readonly SlabId[] {
    const byScore = Array.from(this.#resident, (_, slab) => slab).toSorted(
      (a, b) => (this.#policy.scores[b] ?? 0) - (this.#policy.scores[a] ?? 0) || a - b,
    );
    let left = this.#capacityBytes;
    return byScore.filter((slab) => {
      if (this.#bytesOf(slab) > left) return false;
      left -= this.#bytesOf(slab);
      return true;
    });
  }

  /** The slabs of a layer, those of the highest scores first. */
  ranked(layer: number): readonly SlabId[] {
    const { slabsPerLayer } = this.#shape;
    const { scores } = this.#policy;
    return Array.from({ length: slabsPerLayer }, (_, slab) => layer * slabsPerLayer + slab).toSorted(
      (a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b,
    );
  }

  #hold(slab: SlabId): void {
    this.#held[slab] = 1;
    this.#heaps[this.#layerOf(slab)]?.remove(slab);
  }

  #lowest(from: EvictFrom): SlabId | undefined {
    const split = from.kind === 'below-first' ? from.layer : 0;
    return this.#lowestOf(0, split) ?? this.#lowestOf(split, this.#heaps.length);
  }

  #lowestOf(first: number, end: number): SlabId | undefined {
    let best: SlabId | undefined;
    let bestScore = Infinity;
    for (let layer = first; layer < end; layer++) {
      const slab = this.#heaps[layer]?.lowest;
      const score = slab === undefined ? Infinity : (this.#policy.scores[slab] ?? 0);
      if (slab !== undefined && (best === undefined || score < bestScore)) [best, bestScore] = [slab, score];
    }
    return best;
  }

  #layerOf(slab: SlabId): number {
    return Math.floor(slab / this.#shape.slabsPerLayer);
  }

  #bytesOf(slab: SlabId): number {
    const bytes = this.#shape.slabBytes[this.#layerOf(slab)];
    if (bytes === undefined) throw new FleetError('internal.invariant', `no slab ${slab} in the model`);
    return bytes;
  }
}
