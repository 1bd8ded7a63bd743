/**
 * A slab of the whole file: `layer * slabsPerLayer + slab`, with the layer as an index into `SlabLayout.layers`.
 */
export type SlabId = number;

/** The slabs that each layer used in each evaluation, token by token (one may be named twice): `[evaluation][layer]`. */
export type RoutingTrace = readonly (readonly Int32Array[])[];

/**
 * What a slab in memory is worth: the one of the lowest score goes first. Only `used`, `scored`, `expected` and `begin`
 * change scores, and `begin` never their order, so that a heap of them stays a heap.
 */
export interface CachePolicy {
  readonly name: string;
  readonly scores: Float64Array;
  /** An evaluation of that many tokens begins. True when it has brought all scores to another scale. */
  begin(tokens: number): boolean;
  /** The slab is used by the token of the running evaluation, counted from 0. */
  used(slab: SlabId, token: number): void;
  /**
   * How the router scored the slabs of a layer, of which `first` is the first, for a token that uses `slabsPerToken` of
   * them. Called instead of `used` where scores are known; policies without it are told of uses.
   */
  scored?(first: SlabId, scores: Float32Array, slabsPerToken: number, token: number): void;
  /** Uses per token of each slab that are likely from now on, as of a text of a known task. */
  expected?(frequencies: ArrayLike<number>): void;
}

/** What is decayed per token; measured the best of 0.9 to 0.98 on traces with scores at 27 to 62 % resident. */
export const DECAY = 0.95;
/** How many tokens of experience a profile counts for; measured the best of 1 to 20 for the pattern of a prompt's task. */
const PRIOR_TOKENS = 8;
/** Low enough for a batch of thousands of tokens on top. */
const RESCALE_ABOVE = 1e60;

/**
 * Least frequently used, older uses counting `decay` less per token. With `frequencies` (uses per token of each slab, from
 * a profile of the task) it starts from what they say; without, all slabs start equal.
 *
 * Where the router's scores are known, a slab counts as used by its share of them: one that was almost chosen is likelier
 * to be next than one far from it. Measured against counting uses: 4 to 13 % fewer misses, on a trained mixture and on a
 * synthetic one.
 */
export function decayedFrequency(slabs: number, frequencies?: ArrayLike<number>, decay = DECAY): CachePolicy {
  const scores = Float64Array.from({ length: slabs }, (_, slab) => PRIOR_TOKENS * (frequencies?.[slab] ?? 0));
  // Instead of all counts shrinking with every token, what a use counts grows.
  let unit = 1;
  let evaluationUnit = 1;
  return {
    name: 'lfu',
    scores,
    begin: (tokens) => {
      const isRescaled = unit > RESCALE_ABOVE;
      if (isRescaled) {
        for (let slab = 0; slab < slabs; slab++) scores[slab] = (scores[slab] ?? 0) / unit;
        unit = 1;
      }
      evaluationUnit = unit / decay;
      unit /= decay ** tokens;
      return isRescaled;
    },
    used: (slab, token) => {
      scores[slab] = (scores[slab] ?? 0) + evaluationUnit / decay ** token;
    },
    scored: (first, given, slabsPerToken, token) => {
      const sum = given.reduce((all, score) => all + score, 0);
      if (!(sum > 0)) return;
      const use = (slabsPerToken * evaluationUnit) / decay ** token / sum;
      for (const [i, score] of given.entries()) scores[first + i] = (scores[first + i] ?? 0) + use * score;
    },
    expected: (likely) => {
      for (let slab = 0; slab < slabs; slab++) {
        scores[slab] = (scores[slab] ?? 0) + PRIOR_TOKENS * unit * (likely[slab] ?? 0);
      }
    },
  };
}

/** Least recently used. */
export function recency(slabs: number): CachePolicy {
  const scores = new Float64Array(slabs);
  let uses = 0;
  return {
    name: 'lru',
    scores,
    begin: () => false,
    used: (slab) => {
      scores[slab] = ++uses;
    },
  };
}

/** The same slabs are worth the most at all times. */
export function fixedWorth(slabs: number, frequencies: ArrayLike<number>): CachePolicy {
  const scores = Float64Array.from({ length: slabs }, (_, slab) => frequencies[slab] ?? 0);
  return { name: 'static', scores, begin: () => false, used: () => {} };
}

/**
 * The slab that is used again last goes first (Belady, 1966, MIN): no policy misses less where slabs are of one size.
 * Needs the whole future, which must then come to pass: for reports and as the yardstick of other policies.
 */
export function belady(slabs: number, slabsPerLayer: number, future: RoutingTrace): CachePolicy {
  const scores = new Float64Array(slabs);
  const uses = new UpcomingUses(slabs, slabsPerLayer, future);
  const rescore = (slab: SlabId): void => {
    scores[slab] = -uses.nextOf(slab);
  };
  for (let slab = 0; slab < slabs; slab++) rescore(slab);
  return {
    name: 'belady',
    scores,
    begin: () => false,
    used: (slab) => {
      uses.pass(slab);
      rescore(slab);
    },
  };
}

/** Above any score of `decayedFrequency`, with room for a place in time below the next power. */
const KNOWN = 1e150;

/**
 * Lookahead eviction (Read-ME, Cai et al. 2024, section 4): where the queue makes the next evaluations known, slabs that
 * they use stay, the one of the farthest next use going first among them; all others go before, as `otherwise` has it.
 *
 * Read-ME knows them since its router stands before the model. Here a layer's router reads what the layers before it have
 * computed, and an answer's tokens are not drawn yet: a queue tells which tasks come (`start-order.ts` uses that), not which
 * slabs. So no answer is computed with this policy; it is for tokens that are evaluated again, and for reports.
 */
export function lookahead(slabsPerLayer: number, known: RoutingTrace, otherwise: CachePolicy): CachePolicy {
  const scores = new Float64Array(otherwise.scores.length);
  const uses = new UpcomingUses(scores.length, slabsPerLayer, known);
  const rescore = (slab: SlabId): void => {
    const next = uses.nextOf(slab);
    scores[slab] = next === Infinity ? (otherwise.scores[slab] ?? 0) : KNOWN / (1 + next);
  };
  for (let slab = 0; slab < scores.length; slab++) rescore(slab);
  return {
    name: 'lookahead',
    scores,
    begin: (tokens) => {
      const isRescaled = otherwise.begin(tokens);
      if (isRescaled) for (let slab = 0; slab < scores.length; slab++) rescore(slab);
      return isRescaled;
    },
    used: (slab, token) => {
      otherwise.used(slab, token);
      uses.pass(slab);
      rescore(slab);
    },
  };
}

/** When each slab is used next in a known future; a use is passed by one call of `pass`. */
class UpcomingUses {
  readonly #times: number[][];
  readonly #passed: Int32Array;

  constructor(slabs: number, slabsPerLayer: number, future: RoutingTrace) {
    this.#times = Array.from({ length: slabs }, () => []);
    this.#passed = new Int32Array(slabs);
    let time = 0;
    for (const layers of future) {
      for (const [layer, used] of layers.entries()) {
        for (const slab of used) this.#times[layer * slabsPerLayer + slab]?.push(time);
        time++;
      }
    }
  }

  /** Infinity when not again. */
  nextOf(slab: SlabId): number {
    return this.#times[slab]?.[this.#passed[slab] ?? 0] ?? Infinity;
  }

  pass(slab: SlabId): void {
    this.#passed[slab] = (this.#passed[slab] ?? 0) + 1;
  }
}
