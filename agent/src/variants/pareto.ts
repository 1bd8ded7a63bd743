/** One point of a search: what is to be small, and how far it breaks its constraints. */
export interface Scored {
  /** All are minimised. Points that are compared have equally many. */
  readonly objectives: readonly number[];
  /** 0 when every constraint holds, else how badly they are broken, in any one scale. */
  readonly violation: number;
}

/**
 * Whether `a` is better: it breaks less, or, where neither breaks anything, is no worse in any objective and better in
 * one. Constrained domination, Deb et al. 2002 ("A fast and elitist multiobjective genetic algorithm: NSGA-II"), VI.
 */
export function dominates(a: Scored, b: Scored): boolean {
  if (a.violation > 0 || b.violation > 0) return a.violation < b.violation;
  let better = false;
  for (const [i, value] of a.objectives.entries()) {
    const other = b.objectives[i] ?? Infinity;
    if (value > other) return false;
    if (value < other) better = true;
  }
  return better;
}

/** Points that no other dominates, in the order given; of equal ones only the first, of infeasible ones none. */
export function paretoFront<T extends Scored>(points: readonly T[]): readonly T[] {
  return points.filter(
    (point, i) =>
      point.violation === 0 && !points.some((other, j) => dominates(other, point) || (j < i && isEqual(other, point))),
  );
}

/** Fronts by rank, best first (Deb et al. 2002, III.A): each is what nothing of it and after it dominates. O(n^2). */
export function frontsOf<T extends Scored>(points: readonly T[]): readonly (readonly T[])[] {
  const beats: number[][] = points.map(() => []);
  const beatenBy = points.map(() => 0);
  for (const [i, a] of points.entries()) {
    for (const [j, b] of points.entries()) {
      if (!dominates(a, b)) continue;
      beats[i]?.push(j);
      beatenBy[j] = (beatenBy[j] ?? 0) + 1;
    }
  }
  const fronts: (readonly T[])[] = [];
  let front = points.flatMap((_, i) => (beatenBy[i] === 0 ? [i] : []));
  while (front.length > 0) {
    fronts.push(front.flatMap((i) => points[i] ?? []));
    const next: number[] = [];
    for (const i of front) {
      for (const j of beats[i] ?? []) {
        beatenBy[j] = (beatenBy[j] ?? 0) - 1;
        if (beatenBy[j] === 0) next.push(j);
      }
    }
    front = next.sort((a, b) => a - b);
  }
  return fronts;
}

/**
 * How alone each point of a front stands: sum over the objectives of the gap between its neighbours, in shares of the
 * front's range; Infinity at either end (Deb et al. 2002, III.B).
 */
export function crowdingDistances(front: readonly Scored[]): readonly number[] {
  const distances = front.map(() => 0);
  const objectives = front[0]?.objectives.length ?? 0;
  for (let k = 0; k < objectives; k++) {
    const order = front.map((_, i) => i).sort((a, b) => valueOf(front, a, k) - valueOf(front, b, k) || a - b);
    const first = order[0] ?? 0;
    const last = order.at(-1) ?? 0;
    const range = valueOf(front, last, k) - valueOf(front, first, k);
    distances[first] = distances[last] = Infinity;
    if (range <= 0) continue;
    for (let i = 1; i < order.length - 1; i++) {
      const [before = 0, here = 0, after = 0] = order.slice(i - 1, i + 2);
      distances[here] = (distances[here] ?? 0) + (valueOf(front, after, k) - valueOf(front, before, k)) / range;
    }
  }
  return distances;
}

/**
 * Volume that the points dominate up to `reference` (a point worse than all of interest), exactly: by slices along the
 * last objective (Zitzler 1999). Points not better than the reference in every objective add nothing.
 */
export function hypervolume(points: readonly (readonly number[])[], reference: readonly number[]): number {
  const inside = points.filter((point) => point.every((value, i) => value < (reference[i] ?? -Infinity)));
  return volume(inside, reference, reference.length);
}

function volume(points: readonly (readonly number[])[], reference: readonly number[], dimensions: number): number {
  if (points.length === 0) return 0;
  const last = dimensions - 1;
  const edge = reference[last] ?? 0;
  if (last === 0) return edge - Math.min(...points.map((point) => point[0] ?? edge));
  const inOrder = points.toSorted((a, b) => (a[last] ?? 0) - (b[last] ?? 0));
  let total = 0;
  for (const [i, point] of inOrder.entries()) {
    const depth = (inOrder[i + 1]?.[last] ?? edge) - (point[last] ?? 0);
    if (depth > 0) total += depth * volume(inOrder.slice(0, i + 1), reference, last);
  }
  return total;
}

function isEqual(a: Scored, b: Scored): boolean {
  return a.violation === b.violation && a.objectives.every((value, i) => value === b.objectives[i]);
}

function valueOf(front: readonly Scored[], point: number, objective: number): number {
  return front[point]?.objectives[objective] ?? 0;
}
