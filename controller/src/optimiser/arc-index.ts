import { bucketed, positions } from './buckets.js';
import type { PlacementProblem, ProblemArc, ProblemDevice } from './problem.js';

type Likeness = NonNullable<ProblemDevice['like']>;

/**
 * The arcs of a problem by device, then variant, class and mode. A device that is `like` another has that one's arcs,
 * scaled when they are read, so that 100,000 such devices cost nothing. O(arcs) to build; assumes a problem that passed
 * `problemFaults`.
 */
export class ArcIndex {
  readonly #arcs: readonly ProblemArc[];
  readonly #likes: readonly (Likeness | undefined)[];
  readonly #order: Int32Array;
  /** Arcs given for device d are at `#starts[d]` to `#starts[d + 1]` of `#order`. */
  readonly #starts: Int32Array;

  constructor(problem: PlacementProblem) {
    this.#arcs = problem.arcs;
    this.#likes = problem.devices.map(({ like }) => like);
    this.#order = arcOrder(problem);
    this.#starts = new Int32Array(problem.devices.length + 1);
    for (const { d } of problem.arcs) this.#starts[d + 1] = (this.#starts[d + 1] ?? 0) + 1;
    for (let d = 0; d < problem.devices.length; d++) {
      this.#starts[d + 1] = (this.#starts[d + 1] ?? 0) + (this.#starts[d] ?? 0);
    }
  }

  /** The device whose arcs were given for `d`: itself, or the one it is like. */
  template(d: number): number {
    return this.#likes[d]?.d ?? d;
  }

  /** Arcs of a device, by variant, class and mode. */
  of(d: number): ProblemArc[] {
    const like = this.#likes[d];
    const from = like?.d ?? d;
    const arcs: ProblemArc[] = [];
    for (let i = this.#starts[from] ?? 0; i < (this.#starts[from + 1] ?? 0); i++) {
      const arc = this.#at(i);
      if (arc !== undefined) arcs.push(like === undefined ? arc : scaled(arc, d, like));
    }
    return arcs;
  }

  /** Arcs of a device for one variant, by class and mode. O(their number + log arcs of the device). */
  ofPair(d: number, v: number): ProblemArc[] {
    const like = this.#likes[d];
    const end = this.#starts[(like?.d ?? d) + 1] ?? 0;
    const arcs: ProblemArc[] = [];
    for (let i = this.#search(d, v, 0, 0); i < end; i++) {
      const arc = this.#at(i);
      if (arc?.v !== v) break;
      arcs.push(like === undefined ? arc : scaled(arc, d, like));
    }
    return arcs;
  }

  /** The arc of a device for a variant and class in a mode; undefined where it is not allowed. O(log arcs of the device). */
  find(d: number, v: number, k: number, m = 0): ProblemArc | undefined {
    const like = this.#likes[d];
    const at = this.#search(d, v, k, m);
    if (at >= (this.#starts[(like?.d ?? d) + 1] ?? 0)) return undefined;
    const arc = this.#at(at);
    if (arc === undefined || arc.v !== v || arc.k !== k || (arc.m ?? 0) !== m) return undefined;
    return like === undefined ? arc : scaled(arc, d, like);
  }

  /** First position of a device's arcs that is not before (v, k, m). */
  #search(d: number, v: number, k: number, m: number): number {
    const from = this.template(d);
    let low = this.#starts[from] ?? 0;
    let high = this.#starts[from + 1] ?? 0;
    while (low < high) {
      const middle = (low + high) >> 1;
      const arc = this.#at(middle);
      const side = arc === undefined ? 0 : arc.v - v || arc.k - k || (arc.m ?? 0) - m;
      if (side < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #at(position: number): ProblemArc | undefined {
    return this.#arcs[this.#order[position] ?? -1];
  }
}

function scaled(arc: ProblemArc, d: number, like: Likeness): ProblemArc {
  const own = {
    ...arc,
    d,
    service_s: arc.service_s * like.slowness,
    energy_J: arc.energy_J * like.hunger,
    latency_s: arc.latency_s * like.slowness,
  };
  return arc.p95_s === undefined ? own : { ...own, p95_s: arc.p95_s * like.slowness };
}

const indexes = new WeakMap<PlacementProblem, ArcIndex>();

/** The index of a problem, built once: the checks of one plan ask for it many times. Problems are never changed. */
export function arcIndexOf(problem: PlacementProblem): ArcIndex {
  const known = indexes.get(problem);
  if (known !== undefined) return known;
  const index = new ArcIndex(problem);
  indexes.set(problem, index);
  return index;
}

/** Positions of the arcs in order of device, variant, class, mode: stable sorts from the last key to the first. */
export function arcOrder({ arcs, devices, variants, classes }: PlacementProblem): Int32Array {
  const order = positions(arcs.length);
  if (isInOrder(arcs)) return order;
  const modes = arcs.reduce((most, arc) => Math.max(most, (arc.m ?? 0) + 1), 1);
  const keys: readonly (readonly [(arc: ProblemArc | undefined) => number, number])[] = [
    [(arc) => arc?.m ?? 0, modes],
    [(arc) => arc?.k ?? 0, classes.length],
    [(arc) => arc?.v ?? 0, variants.length],
    [(arc) => arc?.d ?? 0, devices.length],
  ];
  return keys.reduce(
    (sofar, [key, size]) => (size < 2 ? sofar : bucketed(sofar, size, (i) => key(arcs[i])).order),
    order,
  );
}

/** Below 0 when `a` comes first: by device, variant, class, mode. 0 only for the same. */
export const compareArcs = (a: ProblemArc, b: ProblemArc): number =>
  a.d - b.d || a.v - b.v || a.k - b.k || (a.m ?? 0) - (b.m ?? 0);

function isInOrder(arcs: readonly ProblemArc[]): boolean {
  let last: ProblemArc | undefined;
  for (const arc of arcs) {
    if (last !== undefined && compareArcs(last, arc) > 0) return false;
    last = arc;
  }
  return true;
}
