/** Dense and sparse routines of the gate's training: row-major Float64Array matrices, no allocation inside the loops. */
import type { Random } from '@fleetgate/shared/random';

import type { SparseVector } from './vocabulary.js';

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly cells: Float64Array;
}

export function matrix(rows: number, columns: number): Matrix {
  return { rows, columns, cells: new Float64Array(rows * columns) };
}

export function rowOf(of: Matrix, row: number): Float64Array {
  return of.cells.subarray(row * of.columns, (row + 1) * of.columns);
}

/** X * B for sparse rows X. */
export function sparseTimes(rows: readonly SparseVector[], right: Matrix): Matrix {
  const product = matrix(rows.length, right.columns);
  rows.forEach((row, at) => {
    const into = rowOf(product, at);
    for (let k = 0; k < row.indices.length; k++) {
      addScaled(into, row.values[k] ?? 0, right.cells, (row.indices[k] ?? 0) * right.columns);
    }
  });
  return product;
}

/** X^T * B for sparse rows X of `features` columns. */
export function sparseTransposeTimes(rows: readonly SparseVector[], features: number, right: Matrix): Matrix {
  const product = matrix(features, right.columns);
  const width = right.columns;
  const cells = product.cells;
  rows.forEach((row, at) => {
    const from = rowOf(right, at);
    for (let k = 0; k < row.indices.length; k++) {
      const value = row.values[k] ?? 0;
      const base = (row.indices[k] ?? 0) * width;
      for (let column = 0; column < width; column++) {
        cells[base + column] = (cells[base + column] ?? 0) + value * (from[column] ?? 0);
      }
    }
  });
  return product;
}

function addScaled(into: Float64Array, scale: number, from: Float64Array, base: number): void {
  for (let column = 0; column < into.length; column++) {
    into[column] = (into[column] ?? 0) + scale * (from[base + column] ?? 0);
  }
}

/** A^T * A. */
export function gram(of: Matrix): Matrix {
  const width = of.columns;
  const product = matrix(width, width);
  const cells = product.cells;
  for (let row = 0; row < of.rows; row++) {
    const from = rowOf(of, row);
    for (let i = 0; i < width; i++) {
      const value = from[i] ?? 0;
      if (value === 0) continue;
      const base = i * width;
      for (let j = 0; j <= i; j++) cells[base + j] = (cells[base + j] ?? 0) + value * (from[j] ?? 0);
    }
  }
  for (let i = 0; i < width; i++) for (let j = 0; j < i; j++) cells[j * width + i] = cells[i * width + j] ?? 0;
  return product;
}

/** Lower triangular L with L * L^T = A. A pivot that rounding made too small is raised, so that A may be singular. */
export function cholesky(of: Matrix): Matrix {
  const size = of.columns;
  const lower = matrix(size, size);
  const cells = lower.cells;
  let largest = 0;
  for (let i = 0; i < size; i++) largest = Math.max(largest, of.cells[i * size + i] ?? 0);
  const smallest = Math.max(largest, 1e-300) * 1e-10;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = of.cells[i * size + j] ?? 0;
      for (let k = 0; k < j; k++) sum -= (cells[i * size + k] ?? 0) * (cells[j * size + k] ?? 0);
      if (i === j) cells[i * size + i] = Math.sqrt(Math.max(sum, smallest));
      else cells[i * size + j] = sum / (cells[j * size + j] ?? 1);
    }
  }
  return lower;
}

/** Solves L * x = b in place. */
export function forwardSolve(lower: Matrix, x: Float64Array): void {
  const size = lower.columns;
  for (let i = 0; i < size; i++) {
    let sum = x[i] ?? 0;
    for (let k = 0; k < i; k++) sum -= (lower.cells[i * size + k] ?? 0) * (x[k] ?? 0);
    x[i] = sum / (lower.cells[i * size + i] ?? 1);
  }
}

/** Solves L^T * x = b in place. */
export function backwardSolve(lower: Matrix, x: Float64Array): void {
  const size = lower.columns;
  for (let i = size - 1; i >= 0; i--) {
    let sum = x[i] ?? 0;
    for (let k = i + 1; k < size; k++) sum -= (lower.cells[k * size + i] ?? 0) * (x[k] ?? 0);
    x[i] = sum / (lower.cells[i * size + i] ?? 1);
  }
}

/** Makes the columns of `of` orthonormal in place (Cholesky QR, twice for accuracy). */
export function orthonormalise(of: Matrix): void {
  for (let pass = 0; pass < 2; pass++) {
    const lower = cholesky(gram(of));
    for (let row = 0; row < of.rows; row++) forwardSolve(lower, rowOf(of, row));
  }
}

export interface Subspace {
  /** features x rank: an orthonormal basis of the strongest directions of the rows. */
  readonly basis: Matrix;
  /** rows x rank: the rows in that basis. */
  readonly scores: Matrix;
}

/**
 * The `rank` strongest directions of sparse rows, by randomised subspace iteration (Halko, Martinsson, Tropp 2011,
 * algorithm 4.4 with two power steps). `rank` is lowered to the number of rows.
 */
export function principalSubspace(
  rows: readonly SparseVector[],
  features: number,
  rank: number,
  random: Random,
): Subspace {
  const width = Math.max(1, Math.min(rank, rows.length));
  const directions = matrix(features, width);
  for (let cell = 0; cell < directions.cells.length; cell++) {
    directions.cells[cell] = random.uniform() < 0.5 ? -1 : 1;
  }
  let range = sparseTimes(rows, directions);
  orthonormalise(range);
  for (let step = 0; step < 2; step++) {
    range = sparseTimes(rows, sparseTransposeTimes(rows, features, range));
    orthonormalise(range);
  }
  const basis = sparseTransposeTimes(rows, features, range);
  const lower = cholesky(gram(basis));
  for (let row = 0; row < basis.rows; row++) forwardSolve(lower, rowOf(basis, row));
  return { basis, scores: sparseTimes(rows, basis) };
}
