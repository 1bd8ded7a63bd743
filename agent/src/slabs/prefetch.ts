import type { SlabId } from './cache-policy.js';

/** What reading ahead by prediction is judged by; all measured on the device. */
export interface PrefetchFacts {
  /** Of the slabs predicted for the next layer that were not in memory, the share that it then used; 0..1. */
  readonly precision: number;
  /** Of one slab. */
  readonly readMs: number;
  /** Time of one layer in which storage has nothing to do: its computation, less reads that go on during it. */
  readonly idleMs: number;
  /** Chance that a slab which was pushed out by a wrong guess is missed later; 0..1. */
  readonly regret: number;
}

/** Below it a gain is not told from noise, and every guess costs energy. */
const LEAST_GAIN_MS = 0.1;
const LEAST_PRECISION = 0.5;

/**
 * Time that one slab read ahead is expected to save, ms; negative where it costs.
 *
 * A right guess hides as much of its read as storage was idle. A wrong one delays what is needed by the rest of its read,
 * and may have pushed out what is needed later.
 */
export function prefetchGainMs({ precision, readMs, idleMs, regret }: PrefetchFacts): number {
  const hidden = Math.min(readMs, idleMs);
  return precision * hidden - (1 - precision) * (readMs - hidden) - (1 - precision) * regret * readMs;
}

/**
 * Whether to read ahead by prediction. Off where nothing is known. On slow storage it usually does not pay: measured on
 * 90 MB/s, guesses that were right 8 times of 10 made a token slower, since most of the right ones were in memory anyway.
 */
export function prefetchPays(facts: PrefetchFacts | undefined): boolean {
  return facts !== undefined && facts.precision >= LEAST_PRECISION && prefetchGainMs(facts) >= LEAST_GAIN_MS;
}

/** Predicts the next layer's slabs from this layer's: how often the one was followed by the other, older tokens less. */
export class NextLayerSlabs {
  readonly #slabsPerLayer: number;
  /** `[layer][slab][next slab]`. */
  readonly #followed: readonly Float32Array[];
  readonly #decay: number;

  constructor(layers: number, slabsPerLayer: number, decay = 0.999) {
    this.#slabsPerLayer = slabsPerLayer;
    this.#decay = decay;
    this.#followed = Array.from({ length: Math.max(0, layers - 1) }, () => new Float32Array(slabsPerLayer ** 2));
  }

  /** Learns that a token used `slabs` in a layer and `next` in the one after it (numbers within the layer). */
  learn(layer: number, slabs: Int32Array, next: Int32Array): void {
    const followed = this.#followed[layer];
    if (followed === undefined) return;
    for (const slab of slabs) {
      const row = followed.subarray(slab * this.#slabsPerLayer, (slab + 1) * this.#slabsPerLayer);
      for (let i = 0; i < row.length; i++) row[i] = (row[i] ?? 0) * this.#decay;
      for (const one of next) row[one] = (row[one] ?? 0) + 1;
    }
  }

  /** The `count` most likely slabs of the layer after this one, most likely first; of the whole file. */
  after(layer: number, slabs: Int32Array, count: number): readonly SlabId[] {
    const followed = this.#followed[layer];
    if (followed === undefined) return [];
    const scores = new Float64Array(this.#slabsPerLayer);
    for (const slab of slabs) {
      const row = followed.subarray(slab * this.#slabsPerLayer, (slab + 1) * this.#slabsPerLayer);
      const sum = row.reduce((all, value) => all + value, 0);
      if (sum > 0) for (let i = 0; i < row.length; i++) scores[i] = (scores[i] ?? 0) + (row[i] ?? 0) / sum;
    }
    return [...scores.keys()]
      .filter((slab) => (scores[slab] ?? 0) > 0)
      .toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
      .slice(0, count)
      .map((slab) => (layer + 1) * this.#slabsPerLayer + slab);
  }
}
