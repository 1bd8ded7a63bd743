/** By task: for each layer that has slabs (index as in `SlabLayout.layers`), how often each slab was chosen. */
export type SlabCounts = Readonly<Record<string, readonly (readonly number[])[]>>;

/**
 * The `keep` slabs of each layer that the tasks choose most, ascending; every task counts the same, whatever the length of
 * its texts. Equal slabs go by number.
 */
export function keptSlabs(counts: SlabCounts, tasks: readonly string[], keep: number): readonly (readonly number[])[] {
  const wanted = tasks.flatMap((task) => counts[task] ?? []);
  const layers = wanted.length / Math.max(1, tasks.length);
  return Array.from({ length: layers }, (_, layer) => {
    const ofTasks = tasks.flatMap((task) => [counts[task]?.[layer] ?? []]);
    const shares = (ofTasks[0] ?? []).map((_, slab) =>
      ofTasks.reduce((sum, ofLayer) => sum + (ofLayer[slab] ?? 0) / Math.max(1, totalOf(ofLayer)), 0),
    );
    return shares
      .map((share, slab) => ({ share, slab }))
      .sort((a, b) => b.share - a.share || a.slab - b.slab)
      .slice(0, keep)
      .map(({ slab }) => slab)
      .sort((a, b) => a - b);
  });
}

function totalOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
