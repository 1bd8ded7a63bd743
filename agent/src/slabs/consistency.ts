/** Slabs chosen by the tokens of one document in one layer, token by token. */
export type LayerTrace = readonly (readonly number[])[];

export interface Consistency {
  /** Segment routing best performance, 0..1. */
  readonly srp: number;
  /** Slabs of the groups that gave it, on average over segments. */
  readonly groupSize: number;
}

/**
 * Segment routing best performance (SRP), after "Not All Models Suit Expert Offloading" (arXiv 2505.16056, section 3):
 * how well fixed groups of slabs can stand for what the router chooses over segments of `length` tokens. A threshold `a`,
 * the same for all segments, makes each segment's group of the slabs that it chose `a` times or more; with `f` the times
 * that a segment chose a slab, all segments and slabs together, it is the best F1 of the group against what was chosen:
 *
 *     SRP = max_a  2 sum_{f >= a} f / (sum_{f >= a} length + sum f)
 *
 * Every token begins a segment. Of several layers together: give the traces of all of them, as the source does for a model.
 * 1 where all tokens of every segment choose the same; 0 without a segment.
 */
export function segmentRouting(traces: readonly LayerTrace[], length: number): Consistency {
  // How many slabs were chosen f times, by f.
  const slabsChosen = new Float64Array(length + 1);
  let segments = 0;
  for (const counts of segmentCounts(traces, length)) {
    for (const count of counts) slabsChosen[count] = (slabsChosen[count] ?? 0) + 1;
    segments++;
  }
  const chosen = slabsChosen.reduce((sum, slabs, count) => sum + count * slabs, 0);
  let [best, bestSlabs, covered, slabs] = [0, 0, 0, 0];
  for (let threshold = length; threshold >= 1; threshold--) {
    const here = slabsChosen[threshold] ?? 0;
    covered += threshold * here;
    slabs += here;
    const f1 = (2 * covered) / Math.max(1, length * slabs + chosen);
    if (f1 > best) [best, bestSlabs] = [f1, slabs];
  }
  return { srp: best, groupSize: segments === 0 ? 0 : bestSlabs / segments };
}

/**
 * Segment cache best hit rate (SCH) of a layer (same source, as its first version defines it; later ones let the cache
 * change within a segment): share of a segment's choices that a cache of `slabs` slabs hits when it holds the most chosen
 * ones of the segment: what no cache that is filled once a segment can beat. The mean over all segments.
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
