import type { SlabId } from './cache-policy.js';

/**
 * The router's scores for the layer after the present one, as far as they can be told now: what the present layer's router
 * saw, put to that layer's router. Undefined where that cannot be done.
 */
export type Foresight = () => Float32Array | undefined;

/** `measured`: where tokens have been quicker with it than without. */
export type PrefetchRule = 'measured' | 'always' | 'never';

export interface PrefetchShape {
  readonly layers: number;
  readonly slabsPerLayer: number;
}

/** Uses by the token, expected: what is likely enough to be guessed. */
const LEAST_LIKELY = 0.25;
/** Long enough for what a wrong guess has pushed out to be missed in the same block. */
const BLOCK_TOKENS = 16;
const LEAST_TOKENS = 32;
/** Once it is known what is quicker, one block in so many goes the other way. */
const TRIAL_EVERY = 8;
/** Of the time without: less is not told from noise, and every guess costs energy. */
const LEAST_GAIN = 0.03;

/**
 * Guesses which slabs the next layer will use (MoE-Infinity, EdgeMoE: prefetching by predicted routing), while storage would
 * have nothing to do, and does so only where it pays: blocks of tokens go with it and without it, and it stays with what was
 * quicker. What a guess costs (computing it, wrong reads in the way of right ones, what they push out) depends on the device
 * in more ways than a formula holds.
 */
export class Prefetch {
  readonly #shape: PrefetchShape;
  readonly #rule: PrefetchRule;
  readonly #with = new RecentMean();
  readonly #without = new RecentMean();
  /** Guesses for the layer to come. */
  readonly #expected = new Set<SlabId>();
  #tokens = 0;
  #isOn = false;

  constructor(shape: PrefetchShape, rule: PrefetchRule = 'measured') {
    this.#shape = shape;
    this.#rule = rule;
  }

  /** A token's evaluation begins. */
  begin(): void {
    this.giveUp();
    this.#isOn = this.#rule === 'measured' ? this.#decide() : this.#rule === 'always';
    this.#tokens++;
  }

  /** What the token has taken up to its last layer. */
  took(ms: number): void {
    (this.#isOn ? this.#with : this.#without).add(ms);
  }

  /** Whether a slab was guessed for a layer that has not come yet. */
  isExpected(slab: SlabId): boolean {
    return this.#expected.has(slab);
  }

  /** Nothing is expected any more: the layer has come, or its room is needed. */
  giveUp(): void {
    this.#expected.clear();
  }

  /** Slabs of the layer after this one to be read now, most likely first. */
  worthReading(
    layer: number,
    slabsPerToken: number,
    foresight: Foresight,
    isInMemory: (slab: SlabId) => boolean,
  ): readonly SlabId[] {
    if (!this.#isOn || layer + 1 >= this.#shape.layers) return [];
    const scores = foresight();
    if (scores === undefined) return [];
    const likely = this.#likely(layer + 1, scores, slabsPerToken).filter((slab) => !isInMemory(slab));
    for (const slab of likely) this.#expected.add(slab);
    return likely;
  }

  #decide(): boolean {
    const block = Math.floor(this.#tokens / BLOCK_TOKENS);
    const [on, off] = [this.#with, this.#without];
    if (on.count < LEAST_TOKENS || off.count < LEAST_TOKENS) return block % 2 === 1;
    const pays = on.value <= (1 - LEAST_GAIN) * off.value;
    return block % TRIAL_EVERY === TRIAL_EVERY - 1 ? !pays : pays;
  }

  #likely(layer: number, scores: Float32Array, slabsPerToken: number): readonly SlabId[] {
    const first = layer * this.#shape.slabsPerLayer;
    const least = LEAST_LIKELY / slabsPerToken;
    return [...scores.keys()]
      .filter((slab) => (scores[slab] ?? 0) >= least)
      .toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
      .slice(0, slabsPerToken)
      .map((slab) => first + slab);
  }
}

/** What counts for less with every later one. */
const FADING = 0.99;

class RecentMean {
  #sum = 0;
  #weight = 0;
  count = 0;

  get value(): number {
    return this.#sum / this.#weight;
  }

  add(value: number): void {
    this.#sum = FADING * this.#sum + value;
    this.#weight = FADING * this.#weight + 1;
    this.count++;
  }
}
