/**
 * The classes of prompts, found in the prompts themselves: each task is a class, but one that most prompts are of says
 * little (a file without tasks has one) and is split into the groups that its prompts fall into. Depends on prompts and
 * tasks, never on outcomes.
 */
import type { Random } from '@fleetgate/shared/random';

import { type Matrix, matrix } from './linear-algebra.js';
import { dot, nearestOf, sphericalKMeans } from './spherical-k-means.js';

/** Classes in all, for planning decides class by class. */
const MOST_CLASSES = 64;
/** A task of more than this share of the prompts is split. */
const MOST_SHARE = 0.5;
/** Groups of fewer prompts, on average, teach little of their own. */
const FEWEST_PROMPTS = 40;
/** Twice the groups have to bring prompts that were set aside this much nearer to a centre (share of the distance). */
const LEAST_GAIN = 0.1;
/** One prompt of so many is set aside to judge by. */
const SET_ASIDE = 4;

export interface PromptClasses {
  /** Task of each class; the classes of a task follow one another. */
  readonly taskOf: Uint8Array;
  /** Classes x dimensions: unit vectors. */
  readonly centroids: Matrix;
  /** Class of each prompt: the nearest of its task's. */
  readonly classOf: Uint8Array;
}

/** `rows` are the prompts' unit vectors, `taskOf` their tasks, 0..tasks-1. */
export function findClasses(
  rows: readonly Float64Array[],
  taskOf: Uint8Array,
  tasks: number,
  random: Random,
): PromptClasses {
  const found = Array.from({ length: tasks }, (_, task) => {
    const own = rows.filter((_, row) => taskOf[row] === task);
    const groups = own.length > MOST_SHARE * rows.length ? groupsIn(own, MOST_CLASSES - tasks, random) : 1;
    return sphericalKMeans(own, groups, random);
  });
  const owners = found.flatMap((centroids, task) => Array.from({ length: centroids.rows }, () => task));
  const centroids = matrix(owners.length, rows[0]?.length ?? 0);
  centroids.cells.set(found.flatMap((one) => [...one.cells]));
  const firsts = found.map((_, task) => owners.indexOf(task));
  const classOf = rows.map((row, at) => {
    const task = taskOf[at] ?? 0;
    return (firsts[task] ?? 0) + nearestOf(found[task] ?? centroids, row).at;
  });
  return { taskOf: Uint8Array.from(owners), centroids, classOf: Uint8Array.from(classOf) };
}

/** How many groups the prompts fall into: the most for which each doubling, and the last one, made enough of a gain. */
function groupsIn(rows: readonly Float64Array[], most: number, random: Random): number {
  const [kept, aside] = [rows.filter((_, at) => at % SET_ASIDE !== 0), rows.filter((_, at) => at % SET_ASIDE === 0)];
  const distance = (groups: number) => {
    const centroids = sphericalKMeans(kept, groups, random);
    return aside.reduce((sum, row) => sum + 1 - nearestOf(centroids, row).cosine, 0) / Math.max(1, aside.length);
  };
  const alone = distance(1);
  let best = 1;
  let before = alone;
  for (let doublings = 1; 2 ** doublings <= most && 2 ** doublings * FEWEST_PROMPTS <= rows.length; doublings++) {
    const after = distance(2 ** doublings);
    if (after <= (1 - LEAST_GAIN) * before && after <= (1 - LEAST_GAIN) ** doublings * alone) best = 2 ** doublings;
    before = after;
  }
  return best;
}

/**
 * Probabilities of the classes: of the task, times how near the prompt is to each of the task's centroids. Writes into
 * `into`; `cosines` are the prompt's with the centroids.
 */
export function classProbabilities(
  taskOf: ArrayLike<number>,
  cosines: ArrayLike<number>,
  tasks: ArrayLike<number>,
  into: Float64Array,
): void {
  let start = 0;
  while (start < into.length) {
    const task = taskOf[start] ?? 0;
    let end = start;
    let nearest = -Infinity;
    for (; end < into.length && taskOf[end] === task; end++) nearest = Math.max(nearest, cosines[end] ?? 0);
    let sum = 0;
    for (let at = start; at < end; at++) {
      const weight = Math.exp(SHARPNESS * ((cosines[at] ?? 0) - nearest));
      into[at] = weight;
      sum += weight;
    }
    const scale = (tasks[task] ?? 0) / sum;
    for (let at = start; at < end; at++) into[at] = (into[at] ?? 0) * scale;
    start = end;
  }
}

/** How fast a centroid's share falls with distance, per unit of cosine. */
const SHARPNESS = 20;

/**
 * How much of a prompt looks like prompts seen in training: the share of its grams that are known, times the cosine of its
 * whole vector with the nearest centroid. `cosines` are those of its strongest part.
 */
export function familiarityOf(scores: Float64Array, cosines: Float64Array, known: number): number {
  return known * Math.max(0, ...cosines) * Math.sqrt(dot(scores, scores));
}
