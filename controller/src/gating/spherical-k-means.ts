/** Groups unit vectors by direction (spherical k-means, Dhillon and Modha 2001). Pure; chance comes from `random`. */
import type { Random } from '@fleetgate/shared/random';

import { type Matrix, matrix, rowOf } from './linear-algebra.js';

const MOST_ROUNDS = 25;

/** `count` unit vectors that the rows lie around; fewer when there are fewer distinct rows. Rows are of unit length. */
export function sphericalKMeans(rows: readonly Float64Array[], count: number, random: Random): Matrix {
  let centroids = spreadOut(rows, count, random);
  let before: readonly number[] = [];
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const nearest = rows.map((row) => nearestOf(centroids, row).at);
    if (nearest.every((at, row) => at === before[row])) break;
    before = nearest;
    centroids = meanDirections(rows, nearest, centroids);
  }
  return centroids;
}

/** The centroid that a row is most alike; ties go to the first. */
export function nearestOf(centroids: Matrix, row: Float64Array): { readonly at: number; readonly cosine: number } {
  let nearest = { at: 0, cosine: -Infinity };
  for (let at = 0; at < centroids.rows; at++) {
    const cosine = dot(rowOf(centroids, at), row);
    if (cosine > nearest.cosine) nearest = { at, cosine };
  }
  return nearest;
}

export function dot(left: Float64Array, right: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < left.length; at++) sum += (left[at] ?? 0) * (right[at] ?? 0);
  return sum;
}

/** The vector scaled to length 1; unchanged when it is 0. */
export function unit(vector: Float64Array): Float64Array {
  return scaleToUnit(vector.slice());
}

/** As `unit`, in its place. Returns the vector. */
export function scaleToUnit(vector: Float64Array): Float64Array {
  const norm = Math.sqrt(dot(vector, vector));
  if (norm > 0) for (let at = 0; at < vector.length; at++) vector[at] = (vector[at] ?? 0) / norm;
  return vector;
}

/** The first centroids: rows drawn with chances by how far they are from those already drawn (Arthur, Vassilvitskii 2007). */
function spreadOut(rows: readonly Float64Array[], count: number, random: Random): Matrix {
  const chosen: Float64Array[] = [rows[Math.floor(random.uniform() * rows.length)] ?? new Float64Array()];
  const distances = rows.map((row) => 1 - dot(row, chosen[0] ?? row));
  while (chosen.length < count) {
    const total = distances.reduce((sum, distance) => sum + Math.max(0, distance), 0);
    if (total < 1e-9) break;
    let left = random.uniform() * total;
    const at = distances.findIndex((distance) => (left -= Math.max(0, distance)) < 0);
    const next = rows[at < 0 ? rows.length - 1 : at] ?? new Float64Array();
    chosen.push(next);
    rows.forEach((row, index) => (distances[index] = Math.min(distances[index] ?? 0, 1 - dot(row, next))));
  }
  const centroids = matrix(chosen.length, chosen[0]?.length ?? 0);
  chosen.forEach((row, at) => rowOf(centroids, at).set(row));
  return centroids;
}

function meanDirections(rows: readonly Float64Array[], nearest: readonly number[], before: Matrix): Matrix {
  const sums = matrix(before.rows, before.columns);
  rows.forEach((row, index) => {
    const into = rowOf(sums, nearest[index] ?? 0);
    row.forEach((value, at) => (into[at] = (into[at] ?? 0) + value));
  });
  for (let at = 0; at < sums.rows; at++) {
    const sum = rowOf(sums, at);
    // A centroid that lost all its rows stays where it was.
    sum.set(sum.every((value) => value === 0) ? rowOf(before, at) : unit(sum));
  }
  return sums;
}
