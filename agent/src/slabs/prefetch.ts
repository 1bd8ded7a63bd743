import type { SlabId } from './cache-policy.js';
import { ForesightOdds, type Guess } from './foresight-odds.js';

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

/** What storage has to do. */
export interface StorageTimes {
  /** To read one slab more. */
  readonly slabMs: number;
  /** To read what is asked of it already. */
  readonly queuedMs: number;
}

/** Reading costs even idle storage something: work for the processor, and the slab that makes room. */
const LEAST_ODDS = 0.6;
/** Of as many slabs as a token uses: how far down the foretold ranking guesses go. */
const GUESSED_SHARE = 2;
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
  readonly #odds = new ForesightOdds();
  readonly #computing = new RecentMean();
  /** Guesses for the layer to come: margins of those that are not in memory. */
  readonly #margins = new Map<SlabId, number>();
  /** Those that are being read. */
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

  /** What a layer has computed for, from its choice to the next one's, but for waiting. */
  computed(ms: number): void {
    this.#computing.add(ms);
  }

  /** Whether a slab is read for a layer that has not come yet. */
  isExpected(slab: SlabId): boolean {
    return this.#expected.has(slab);
  }

  /** The layer has come that was guessed for. */
  came(used: readonly SlabId[]): void {
    for (const [slab, margin] of this.#margins) this.#odds.saw(margin, used.includes(slab));
    this.giveUp();
  }

  /** Nothing is expected any more. */
  giveUp(): void {
    this.#margins.clear();
    this.#expected.clear();
  }

  /** Slabs that the layer after this one may use and that are not in memory, the likeliest first. */
  guess(
    layer: number,
    slabsPerToken: number,
    foresight: Foresight,
    isInMemory: (slab: SlabId) => boolean,
  ): readonly Guess[] {
    if (!this.#isOn || layer + 1 >= this.#shape.layers) return [];
    const scores = foresight();
    if (scores === undefined) return [];
    const first = (layer + 1) * this.#shape.slabsPerLayer;
    const ranked = [...scores.keys()].toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
    const logOf = (rank: number): number => Math.log(scores[ranked[rank] ?? -1] ?? 0);
    const border = (logOf(slabsPerToken - 1) + logOf(slabsPerToken)) / 2;
    for (const [rank, slab] of ranked.slice(0, GUESSED_SHARE * slabsPerToken).entries()) {
      const margin = logOf(rank) - border;
      if (!Number.isNaN(margin) && !isInMemory(first + slab)) this.#margins.set(first + slab, margin);
    }
    return [...this.#margins]
      .map(([slab, margin]) => ({ slab, odds: this.#odds.of(margin) }))
      .toSorted((a, b) => b.odds - a.odds);
  }

  /**
   * Of these guesses, those to be read now. While the layer computes, a share `h` of a read is done: what is saved by a right
   * guess; a wrong one holds up by the rest, `1 - h`, what is read next. It pays from odds of `1 - h` on.
   */
  worthReading(guesses: readonly Guess[], { slabMs, queuedMs }: StorageTimes): readonly SlabId[] {
    const chosen: SlabId[] = [];
    let left = this.#computing.value - queuedMs;
    for (const { slab, odds } of guesses) {
      const hidden = Math.min(1, Math.max(0, left / slabMs));
      if (!(odds >= Math.max(LEAST_ODDS, 1 - hidden))) break;
      chosen.push(slab);
      this.#expected.add(slab);
      left -= slabMs;
    }
    return chosen;
  }

  #decide(): boolean {
    const block = Math.floor(this.#tokens / BLOCK_TOKENS);
    const [on, off] = [this.#with, this.#without];
    if (on.count < LEAST_TOKENS || off.count < LEAST_TOKENS) return block % 2 === 1;
    const pays = on.value <= (1 - LEAST_GAIN) * off.value;
    return block % TRIAL_EVERY === TRIAL_EVERY - 1 ? !pays : pays;
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
