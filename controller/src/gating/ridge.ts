import { FleetError } from '@fleetgate/shared/errors';

import { backwardSolve, cholesky, forwardSolve, type Matrix, matrix, rowOf } from './linear-algebra.js';

/** Strengths that are tried, from hardly any shrinkage to almost the mean; rows are of unit length. */
const LAMBDAS = [0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000] as const;

export interface RidgeFit {
  readonly lambda: number;
  readonly coefficients: Float64Array;
  readonly intercept: number;
  /** Prediction of each row by the fit that has not seen its fold; NaN where the target is unknown. */
  readonly heldOut: Float64Array;
}

/**
 * Ridge regression of each target on the same rows, its strength chosen by cross-validation over the given folds.
 *
 * A target is NaN where it is unknown. Targets that are known on the same rows share their matrices, so many targets
 * cost little more than one, and still no target has a say in another's fit. The intercept is not shrunk. With a single
 * one of `strengths`, differences of predictions are predictions of differences.
 */
export function fitRidge(
  scores: Matrix,
  targets: readonly Float64Array[],
  folds: { readonly of: Uint8Array; readonly count: number },
  strengths: readonly number[] = LAMBDAS,
): readonly RidgeFit[] {
  const groups = new Map<string, number[]>();
  targets.forEach((target, index) => {
    const known = Buffer.from(Uint8Array.from(target, (value) => (Number.isNaN(value) ? 0 : 1))).toString('latin1');
    groups.set(known, [...(groups.get(known) ?? []), index]);
  });
  const paths: StrengthPath[] = [];
  for (const members of groups.values()) {
    const group = members.map((index) => targets[index] ?? new Float64Array());
    pathsOf(scores, group, folds, strengths).forEach((path, at) => (paths[members[at] ?? 0] = path));
  }
  return paths.map((path) => {
    const errors = path.map((step) => step.error);
    const best = path[errors.indexOf(Math.min(...errors))] ?? path[0];
    if (best === undefined) throw new FleetError('internal.invariant', 'ridge regression without a strength');
    return best;
  });
}

/** One fit per strength, with its squared error on held-out rows. */
type StrengthPath = readonly (RidgeFit & { readonly error: number })[];

function pathsOf(
  scores: Matrix,
  targets: readonly Float64Array[],
  folds: { readonly of: Uint8Array; readonly count: number },
  strengths: readonly number[],
): StrengthPath[] {
  const rowsByFold = Array.from({ length: folds.count }, () => [] as number[]);
  const first = targets[0] ?? new Float64Array();
  for (let row = 0; row < scores.rows; row++) {
    if (!Number.isNaN(first[row] ?? NaN)) rowsByFold[folds.of[row] ?? 0]?.push(row);
  }
  const sums = rowsByFold.map((rows) => sumsOf(scores, targets, rows));
  const all = total(sums, scores.columns, targets.length);
  const rests = sums.map((own) => less(all, own));
  const byStrength = strengths.map((lambda) => {
    const heldOut = targets.map(() => new Float64Array(scores.rows).fill(NaN));
    rests.forEach((rest, fold) => {
      const rows = rowsByFold[fold] ?? [];
      if (rows.length === 0) return;
      solve(rest, lambda).forEach((line, target) => {
        const into = heldOut[target];
        if (into !== undefined) for (const row of rows) into[row] = evaluate(line, rowOf(scores, row));
      });
    });
    return { lambda, heldOut, lines: solve(all, lambda) };
  });
  return targets.map((target, at) =>
    byStrength.map(({ lambda, heldOut, lines }) => {
      const own = heldOut[at] ?? new Float64Array(scores.rows).fill(NaN);
      const line = lines[at] ?? { coefficients: new Float64Array(scores.columns), intercept: 0 };
      return { lambda, ...line, heldOut: own, error: squaredError(own, target) };
    }),
  );
}

interface Line {
  readonly coefficients: Float64Array;
  readonly intercept: number;
}

function evaluate(line: Line, row: Float64Array): number {
  let sum = line.intercept;
  for (let at = 0; at < row.length; at++) sum += (row[at] ?? 0) * (line.coefficients[at] ?? 0);
  return sum;
}

function squaredError(predictions: Float64Array, target: Float64Array): number {
  let sum = 0;
  for (let row = 0; row < target.length; row++) {
    const error = (predictions[row] ?? NaN) - (target[row] ?? NaN);
    if (!Number.isNaN(error)) sum += error * error;
  }
  return sum;
}

/** Sufficient statistics of a set of rows: count, sum of p, sum of p p^T, and per target sum of y and of y p. */
interface Sums {
  readonly count: number;
  readonly of: Float64Array;
  readonly products: Matrix;
  readonly targets: readonly { readonly sum: number; readonly products: Float64Array }[];
}

function sumsOf(scores: Matrix, targets: readonly Float64Array[], rows: readonly number[]): Sums {
  const width = scores.columns;
  const of = new Float64Array(width);
  const products = matrix(width, width);
  for (const row of rows) {
    const from = rowOf(scores, row);
    for (let i = 0; i < width; i++) {
      const value = from[i] ?? 0;
      of[i] = (of[i] ?? 0) + value;
      const base = i * width;
      for (let j = 0; j <= i; j++) products.cells[base + j] = (products.cells[base + j] ?? 0) + value * (from[j] ?? 0);
    }
  }
  return {
    count: rows.length,
    of,
    products,
    targets: targets.map((target) => {
      let sum = 0;
      const withTarget = new Float64Array(width);
      for (const row of rows) {
        const value = target[row] ?? 0;
        sum += value;
        const from = rowOf(scores, row);
        for (let i = 0; i < width; i++) withTarget[i] = (withTarget[i] ?? 0) + value * (from[i] ?? 0);
      }
      return { sum, products: withTarget };
    }),
  };
}

function total(parts: readonly Sums[], width: number, targets: number): Sums {
  const none: Sums = {
    count: 0,
    of: new Float64Array(width),
    products: matrix(width, width),
    targets: Array.from({ length: targets }, () => ({ sum: 0, products: new Float64Array(width) })),
  };
  return parts.reduce((sum, part) => combine(sum, part, 1), none);
}

function less(all: Sums, part: Sums): Sums {
  return combine(all, part, -1);
}

function combine(left: Sums, right: Sums, sign: 1 | -1): Sums {
  const added = (a: Float64Array, b: Float64Array) => a.map((value, at) => value + sign * (b[at] ?? 0));
  return {
    count: left.count + sign * right.count,
    of: added(left.of, right.of),
    products: { ...left.products, cells: added(left.products.cells, right.products.cells) },
    targets: left.targets.map((target, at) => {
      const other = right.targets[at] ?? { sum: 0, products: new Float64Array(target.products.length) };
      return { sum: target.sum + sign * other.sum, products: added(target.products, other.products) };
    }),
  };
}

/** Minimises sum (y - b0 - b p)^2 + lambda |b|^2 for every target. */
function solve(sums: Sums, lambda: number): readonly Line[] {
  const width = sums.of.length;
  const count = Math.max(1, sums.count);
  const mean = sums.of.map((value) => value / count);
  const system = matrix(width, width);
  for (let i = 0; i < width; i++) {
    for (let j = 0; j <= i; j++) {
      const centred = (sums.products.cells[i * width + j] ?? 0) - (sums.of[i] ?? 0) * (mean[j] ?? 0);
      system.cells[i * width + j] = centred + (i === j ? lambda : 0);
    }
  }
  const lower = cholesky(system);
  return sums.targets.map((target) => {
    const coefficients = target.products.map((value, at) => value - target.sum * (mean[at] ?? 0));
    forwardSolve(lower, coefficients);
    backwardSolve(lower, coefficients);
    let intercept = target.sum / count;
    for (let at = 0; at < width; at++) intercept -= (coefficients[at] ?? 0) * (mean[at] ?? 0);
    return { coefficients, intercept };
  });
}
