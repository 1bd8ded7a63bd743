/** Slabs chosen by the tokens of one document in one layer, token by token. */
export type LayerTrace = readonly (readonly number[])[];

export interface Consistency {
  /** Segment routing best performance, 0..1. */
  readonly srp: number;
  /** Slabs of the group that gave it, on average. */
  readonly groupSize: number;
}

/**
 * Segment routing best performance (SRP) of a layer, after "Not All Models Suit Expert Offloading" (arXiv 2505.16056):
 * how well one fixed group of slabs can stand for what the router chooses over a segment of `length` tokens. A group's
 * performance is the F1 of its slabs against the chosen ones, all tokens of the segment together:
 *
 *     F1(G) = 2 sum_t |R_t n G| / (length |G| + sum_t |R_t|)
 *
 * The best group of each size holds the most chosen slabs, so the best of all is found by going through the sizes. The mean
 * over all segments (every token begins one). 1 where all tokens of every segment choose the same.
 */
export function segmentRouting(documents: readonly LayerTrace[], length: number): Consistency {
  let [total, sizes, segments] = [0, 0, 0];
  for (const counts of segmentCounts(documents, length)) {
    const chosen = counts.reduce((sum, count) => sum + count, 0);
    let [best, bestSize, covered] = [0, 0, 0];
    for (const [i, count] of counts.entries()) {
      covered += count;
      const f1 = (2 * covered) / (length * (i + 1) + chosen);
      if (f1 > best) [best, bestSize] = [f1, i + 1];
    }
    total += best;
    sizes += bestSize;
    segments++;
  }
  return segments === 0 ? { srp: 0, groupSize: 0 } : { srp: total / segments, groupSize: sizes / segments };
}

/**
 * Segment cache best hit rate (SCH) of a layer (same source): share of a segment's choices that a cache of `slabs` slabs
 * hits when it holds the most chosen ones of the segment: what no cache that is filled once a segment can beat. The mean
 * over all segments.
 */
export function segmentCache(documents: readonly LayerTrace[], length: number, slabs: number): number {
  let [hits, chosen] = [0, 0];
  for (const counts of segmentCounts(documents, length)) {
    for (const [i, count] of counts.entries()) {
      chosen += count;
      if (i < slabs) hits += count;
    }
  }
  return chosen === 0 ? 0 : hits / chosen;
}

/** Share of a token's slabs that the token before it had chosen, too. */
export function previousTokenReuse(documents: readonly LayerTrace[]): number {
  let [same, all] = [0, 0];
  for (const document of documents) {
    for (const [t, slabs] of document.entries()) {
      const before = document[t - 1];
      if (before === undefined) continue;
      all += slabs.length;
      same += slabs.filter((slab) => before.includes(slab)).length;
    }
  }
  return all === 0 ? 0 : same / all;
}

/** For each segment, how often each slab was chosen that was, largest first. */
function* segmentCounts(documents: readonly LayerTrace[], length: number): Generator<readonly number[]> {
  for (const document of documents) {
    const counts = new Map<number, number>();
    const add = (slabs: readonly number[], by: number): void => {
      for (const slab of slabs) {
        const count = (counts.get(slab) ?? 0) + by;
        if (count === 0) counts.delete(slab);
        else counts.set(slab, count);
      }
    };
    for (const [t, slabs] of document.entries()) {
      add(slabs, 1);
      const left = document[t - length];
      if (left !== undefined) add(left, -1);
      if (t >= length - 1) yield [...counts.values()].toSorted((a, b) => b - a);
    }
  }
}
