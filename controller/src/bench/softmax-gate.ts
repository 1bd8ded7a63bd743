/**
 * The gate of MoE^2 (arXiv 2501.09410) as a softmax over experts, to be held against ours: one logit per expert, linear
 * in the prompt's features, masked to a selection by leaving logits out and dividing the rest anew.
 */
import { type Matrix, matrix, rowOf } from '../gating/linear-algebra.js';

import { minimise } from './lbfgs.js';

/**
 * What training makes small, mean over prompts. `best expert`: cross-entropy of the expert whose answer is best (of equals
 * each a share). `mixture`: -ln of the mixture's quality, the loss of the mixed output where quality is a probability.
 */
export type SoftmaxLoss = 'best expert' | 'mixture';

/** Experts x (features + 1); the last column is the intercept, which is not shrunk. */
export type SoftmaxGate = Matrix;

export interface SoftmaxTask {
  /** Prompts x features. */
  readonly features: Matrix;
  /** Prompts x experts, 0..1. */
  readonly quality: Matrix;
  readonly loss: SoftmaxLoss;
}

/** Of the squared weights, beside a mean loss; held-out quality on the bundled outcomes was lower with 1e-3 and 1e-2. */
const STRENGTH = 1e-4;
const STEPS = 60;
const TOLERANCE = 1e-5;

/**
 * A gate that no small change makes better, never worse than `start`. `best expert` is convex: the optimum from any start.
 * `mixture` is not, and collapses on one expert from a start without preferences: without `start` it begins at the optimum
 * of `best expert`.
 */
export function trainSoftmax(task: SoftmaxTask, start?: SoftmaxGate): SoftmaxGate {
  const [rows, columns] = [task.quality.columns, task.features.columns + 1];
  const from =
    start?.cells ??
    (task.loss === 'mixture' ? trainSoftmax({ ...task, loss: 'best expert' }).cells : new Float64Array(rows * columns));
  const cells = minimise((point, gradient) => objective(task, point, gradient), from, STEPS, TOLERANCE);
  return { rows, columns, cells };
}

/** The training objective at a gate, nats per prompt and the shrinkage. */
export function softmaxLoss(task: SoftmaxTask, gate: SoftmaxGate): number {
  return objective(task, gate.cells, new Float64Array(gate.cells.length));
}

/** The gate with the logits of `selection` alone. */
export function maskSoftmax(gate: SoftmaxGate, selection: readonly number[]): SoftmaxGate {
  const masked = matrix(selection.length, gate.columns);
  selection.forEach((expert, at) => rowOf(masked, at).set(rowOf(gate, expert)));
  return masked;
}

/** The columns of `selection`. */
export function columnsOf(of: Matrix, selection: readonly number[]): Matrix {
  const picked = matrix(of.rows, selection.length);
  for (let row = 0; row < of.rows; row++)
    selection.forEach((column, at) => (rowOf(picked, row)[at] = rowOf(of, row)[column] ?? 0));
  return picked;
}

/** Prompts x experts: the logits. */
export function logitsOf(gate: SoftmaxGate, features: Matrix): Matrix {
  const logits = matrix(features.rows, gate.rows);
  for (let row = 0; row < features.rows; row++) writeLogits(gate, rowOf(features, row), rowOf(logits, row));
  return logits;
}

function writeLogits({ rows, columns, cells }: SoftmaxGate, features: Float64Array, into: Float64Array): void {
  for (let expert = 0; expert < rows; expert++) {
    const base = expert * columns;
    let sum = cells[base + columns - 1] ?? 0;
    for (let at = 0; at < columns - 1; at++) sum += (cells[base + at] ?? 0) * (features[at] ?? 0);
    into[expert] = sum;
  }
}

function objective({ features, quality, loss }: SoftmaxTask, cells: Float64Array, gradient: Float64Array): number {
  const gate = { rows: quality.columns, columns: features.columns + 1, cells };
  const [shares, credit] = [new Float64Array(gate.rows), new Float64Array(gate.rows)];
  gradient.fill(0);
  let total = 0;
  for (let row = 0; row < features.rows; row++) {
    const own = rowOf(features, row);
    writeLogits(gate, own, shares);
    softmax(shares);
    total += lossOf(loss, shares, rowOf(quality, row), credit);
    for (let expert = 0; expert < gate.rows; expert++) {
      const error = ((shares[expert] ?? 0) - (credit[expert] ?? 0)) / features.rows;
      const base = expert * gate.columns;
      for (let at = 0; at < own.length; at++) gradient[base + at] = (gradient[base + at] ?? 0) + error * (own[at] ?? 0);
      gradient[base + own.length] = (gradient[base + own.length] ?? 0) + error;
    }
  }
  return total / features.rows + shrink(gate, gradient);
}

/** Loss of one prompt; writes the shares it would like into `credit`. A prompt that no expert can answer teaches nothing. */
function lossOf(loss: SoftmaxLoss, shares: Float64Array, quality: Float64Array, credit: Float64Array): number {
  const best = Math.max(...quality);
  if (best <= 0) {
    credit.set(shares);
    return 0;
  }
  const wanted = (at: number) =>
    loss === 'mixture' ? (shares[at] ?? 0) * (quality[at] ?? 0) : Number((quality[at] ?? 0) === best);
  let mass = 0;
  for (let at = 0; at < credit.length; at++) mass += credit[at] = wanted(at);
  credit.forEach((each, at) => (credit[at] = each / mass));
  if (loss === 'mixture') return -Math.log(mass);
  return credit.reduce((sum, share, at) => sum - (share > 0 ? share * Math.log(shares[at] ?? 0) : 0), 0);
}

function shrink({ rows, columns, cells }: SoftmaxGate, gradient: Float64Array): number {
  let squares = 0;
  for (let expert = 0; expert < rows; expert++) {
    for (let at = expert * columns; at < (expert + 1) * columns - 1; at++) {
      const weight = cells[at] ?? 0;
      squares += weight * weight;
      gradient[at] = (gradient[at] ?? 0) + STRENGTH * weight;
    }
  }
  return (STRENGTH / 2) * squares;
}

/** In place; a share is never 0, so that its logarithm is finite. */
function softmax(values: Float64Array): void {
  const most = Math.max(...values);
  let mass = 0;
  values.forEach((value, at) => (mass += values[at] = Math.max(1e-300, Math.exp(value - most))));
  values.forEach((value, at) => (values[at] = value / mass));
}
