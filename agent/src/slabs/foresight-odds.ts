/** A slab that may be used by a layer to come, and how likely. */
export interface Guess {
  readonly slab: number;
  /** 0..1. */
  readonly odds: number;
}

/** Nats from the border of the choice that count as none, and bins for each doubling from there on. */
const FINEST = 0.02;
const BINS_PER_DOUBLING = 2;
const BINS = 16;
/** What is thought of a guess before any was seen: as much as so many sightings. */
const PRIOR_WEIGHT = 4;
const PRIOR_INSIDE = 0.5;
const PRIOR_OUTSIDE = 0.1;
/** What was seen counts for less with every later sighting of its bin. */
const FADING = 0.999;

interface Bin {
  seen: number;
  used: number;
}

/**
 * How often slabs have been chosen of which that was foretold, by how far they were from the border of the choice: the log
 * of a slab's foretold score over that of the last one chosen and the first one left (their geometric mean). How well one
 * layer's state foretells the next layer's choice differs from model to model; the scores alone do not tell it.
 */
export class ForesightOdds {
  readonly #inside = bins(PRIOR_INSIDE);
  readonly #outside = bins(PRIOR_OUTSIDE);

  of(margin: number): number {
    const { seen, used } = this.#binOf(margin);
    return used / seen;
  }

  saw(margin: number, isUsed: boolean): void {
    const bin = this.#binOf(margin);
    bin.seen = FADING * bin.seen + 1;
    bin.used = FADING * bin.used + (isUsed ? 1 : 0);
  }

  #binOf(margin: number): Bin {
    const at = Math.floor(BINS_PER_DOUBLING * Math.log2(Math.max(FINEST, Math.abs(margin)) / FINEST));
    const bin = (margin < 0 ? this.#outside : this.#inside)[Math.min(BINS - 1, at)];
    return bin ?? { seen: 1, used: 0 };
  }
}

function bins(prior: number): readonly Bin[] {
  return Array.from({ length: BINS }, () => ({ seen: PRIOR_WEIGHT, used: prior * PRIOR_WEIGHT }));
}
