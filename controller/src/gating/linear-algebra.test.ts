import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { SeededRandom } from '@fleetgate/shared/random';

import { cholesky, gram, type Matrix, matrix, orthonormalise, principalSubspace, rowOf } from './linear-algebra.js';
import { fitRidge } from './ridge.js';

function random(rows: number, columns: number, seed: number): Matrix {
  const source = new SeededRandom(seed);
  const made = matrix(rows, columns);
  made.cells.forEach((_, cell) => (made.cells[cell] = source.uniform() - 0.5));
  return made;
}

describe('dense routines', () => {
  test('a Cholesky factor times its transpose is the matrix', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.integer(), (size, seed) => {
        const symmetric = gram(random(size + 3, size, seed));
        const lower = cholesky(symmetric);
        for (let i = 0; i < size; i++) {
          for (let j = 0; j < size; j++) {
            const product = rowOf(lower, i).reduce((sum, value, k) => sum + value * (rowOf(lower, j)[k] ?? 0), 0);
            expect(product).toBeCloseTo(symmetric.cells[i * size + j] ?? NaN, 8);
          }
        }
      }),
    );
  });

  test('orthonormalised columns are orthonormal', () => {
    const columns = random(40, 6, 1);
    orthonormalise(columns);
    const products = gram(columns);
    for (let i = 0; i < 6; i++) {
      for (let j = 0; j < 6; j++) expect(products.cells[i * 6 + j]).toBeCloseTo(i === j ? 1 : 0, 9);
    }
  });

  test('as many directions as rows keep every row whole', () => {
    const rows = Array.from({ length: 8 }, (_, row) => ({
      indices: Int32Array.from({ length: 5 }, (_, at) => (row * 3 + at * 7) % 50),
      values: Float32Array.from({ length: 5 }, (_, at) => 1 + row - at),
    }));
    const { scores } = principalSubspace(rows, 50, 8, new SeededRandom(1));
    rows.forEach((row, at) => {
      const square = row.values.reduce((sum, value) => sum + value * value, 0);
      expect(rowOf(scores, at).reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(square, 4);
    });
  });
});

describe('ridge regression', () => {
  const scores = random(80, 4, 3);
  const line = Float64Array.from({ length: 80 }, (_, row) => 0.3 + 2 * (rowOf(scores, row)[1] ?? 0));
  const folds = { of: Uint8Array.from({ length: 80 }, (_, row) => row % 4), count: 4 };

  test('finds a line, and predicts rows it has not seen', () => {
    const [fit] = fitRidge(scores, [line], folds);
    expect(fit?.intercept).toBeCloseTo(0.3, 1);
    expect(fit?.coefficients[1]).toBeCloseTo(2, 1);
    fit?.heldOut.forEach((value, row) => expect(Math.abs(value - (line[row] ?? 0))).toBeLessThan(0.05));
  });

  test('unknown values change nothing for other targets, and have no prediction', () => {
    const partial = line.map((value, row) => (row % 3 === 0 ? NaN : value));
    const [alone] = fitRidge(scores, [line], folds);
    const [beside, other] = fitRidge(scores, [line, partial], folds);
    expect(beside).toEqual(alone);
    expect(other?.heldOut[0]).toBeNaN();
    expect(other?.coefficients[1]).toBeCloseTo(2, 1);
  });

  test('with one strength for all, the difference of two predictions is the prediction of the difference', () => {
    const noise = new SeededRandom(9);
    const second = line.map((value) => value * 0.5 + noise.uniform());
    const difference = line.map((value, row) => value - (second[row] ?? 0));
    const [a, b, c] = fitRidge(scores, [line, second, difference], folds, [1]);
    a?.heldOut.forEach((value, row) => expect(value - (b?.heldOut[row] ?? 0)).toBeCloseTo(c?.heldOut[row] ?? NaN, 9));
  });

  test('noise is shrunk to the mean', () => {
    const noise = new SeededRandom(4);
    const target = Float64Array.from({ length: 80 }, () => noise.uniform());
    const [fit] = fitRidge(scores, [target], folds);
    expect(fit?.lambda).toBeGreaterThanOrEqual(10);
  });
});
