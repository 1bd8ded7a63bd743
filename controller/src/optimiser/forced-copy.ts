/**
 * Problems in which a device has to host something, or must not: with what the schema has, so that every method that
 * solves a problem solves these.
 */
import { arcIndexOf } from './arc-index.js';
import type { PlacementProblem, ProblemArc } from './problem.js';

/**
 * The problem in which at least `least` devices of entry `d` host one of `variants`. A class without demand asks for so
 * many replicas and is allowed nowhere else, so nothing else changes. Its name is in no document.
 */
export function hosting(
  problem: PlacementProblem,
  d: number,
  variants: readonly number[],
  least: number,
): PlacementProblem {
  const own = withOwnArcs(problem, d);
  const k = problem.classes.length;
  const forced = { id: '(forced)', rate: 0, weight: 0, sloMean_s: 1, minServed: 0, minReplicas: least };
  const modes = problem.devices[d]?.modes?.map((_, m) => m) ?? [undefined];
  const arcs: ProblemArc[] = variants.flatMap((v) =>
    modes.map((m) => ({
      ...{ d, v, k, quality: 0, service_s: 1, energy_J: 0, latency_s: 0 },
      ...(m === undefined ? {} : { m }),
    })),
  );
  return { ...own, classes: [...own.classes, forced], arcs: [...own.arcs, ...arcs] };
}

/** The problem in which entry `d` may not host variant `v`. */
export function notHosting(problem: PlacementProblem, d: number, v: number): PlacementProblem {
  const own = withOwnArcs(problem, d);
  return { ...own, arcs: own.arcs.filter((arc) => arc.d !== d || arc.v !== v) };
}

/** The problem in which at most `most` devices of entry `d` may be on. */
export function atMostOn(problem: PlacementProblem, d: number, most: number): PlacementProblem {
  if (most === 0) {
    const own = withOwnArcs(problem, d);
    return { ...own, arcs: own.arcs.filter((arc) => arc.d !== d) };
  }
  return { ...problem, devices: problem.devices.map((each, i) => (i === d ? { ...each, count: most } : each)) };
}

/** The same problem, in which no other device shares the arcs of `d`. O(arcs). */
function withOwnArcs(problem: PlacementProblem, d: number): PlacementProblem {
  const { devices } = problem;
  if (devices[d]?.like !== undefined) return written(problem, d);
  const heir = devices.findIndex(({ like }) => like?.d === d);
  const model = devices[heir]?.like;
  if (model === undefined) return problem;
  // The first of those that are like `d` becomes the one that the others are like.
  const own = written(problem, heir);
  return {
    ...own,
    devices: own.devices.map((device) => {
      const { like } = device;
      if (like?.d !== d) return device;
      const { slowness, hunger } = like;
      return { ...device, like: { d: heir, slowness: slowness / model.slowness, hunger: hunger / model.hunger } };
    }),
  };
}

/** With the arcs of `d` written out. */
function written(problem: PlacementProblem, d: number): PlacementProblem {
  return {
    ...problem,
    devices: problem.devices.map((device, i) => {
      if (i !== d) return device;
      const { like: _, ...own } = device;
      return own;
    }),
    arcs: [...problem.arcs, ...arcIndexOf(problem).of(d)],
  };
}
