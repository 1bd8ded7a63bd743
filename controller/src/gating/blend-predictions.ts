import { type Matrix, matrix, rowOf } from './linear-algebra.js';
import type { RidgeFit } from './ridge.js';
import { FOLDS, type TrainingSet } from './training-set.js';

const TEMPERATURES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] as const;
/** Outcomes' worth of the overall mean that a class's own mean starts from: few prompts are no strong evidence. */
const PRIOR_MEMBERS = 4;
/** Outcomes' worth of the expert's overall error that a class's own error starts from. */
const PRIOR_OUTCOMES = 10;

/** Softmax of `temperature * scores`, written into `into`. */
export function posterior(scores: ArrayLike<number>, temperature: number, into: Float64Array): void {
  let largest = -Infinity;
  for (let at = 0; at < into.length; at++) largest = Math.max(largest, scores[at] ?? -Infinity);
  let sum = 0;
  for (let at = 0; at < into.length; at++) {
    const weight = Math.exp(temperature * ((scores[at] ?? -Infinity) - largest));
    into[at] = weight;
    sum += weight;
  }
  for (let at = 0; at < into.length; at++) into[at] = (into[at] ?? 0) / sum;
}

/** The temperature that makes the held-out class probabilities most likely. */
export function temperatureOf(classes: readonly RidgeFit[], classOf: Uint8Array): number {
  const losses = TEMPERATURES.map((temperature) => {
    const probabilities = heldOutProbabilities(classes, classOf.length, temperature);
    let loss = 0;
    classOf.forEach((own, row) => (loss -= Math.log(Math.max(1e-9, rowOf(probabilities, row)[own] ?? 0))));
    return loss;
  });
  return TEMPERATURES[losses.indexOf(Math.min(...losses))] ?? 1;
}

/** Rows x classes: each prompt's class probabilities by fits that have not seen it. */
export function heldOutProbabilities(classes: readonly RidgeFit[], rows: number, temperature: number): Matrix {
  const probabilities = matrix(rows, classes.length);
  const scores = new Float64Array(classes.length);
  for (let row = 0; row < rows; row++) {
    classes.forEach((fit, index) => (scores[index] = fit.heldOut[row] ?? 0));
    posterior(scores, temperature, rowOf(probabilities, row));
  }
  return probabilities;
}

/** Means of a centred target by class, drawn towards 0; `without` leaves one fold out. NaN values are unknown. */
export function classMeans(set: TrainingSet, target: Float64Array, without?: number): Float64Array {
  const sums = new Float64Array(set.classes.length);
  const counts = new Float64Array(set.classes.length);
  target.forEach((value, row) => {
    if (Number.isNaN(value) || set.foldOf[row] === without) return;
    const index = set.classOf[row] ?? 0;
    sums[index] = (sums[index] ?? 0) + value;
    counts[index] = (counts[index] ?? 0) + 1;
  });
  return sums.map((sum, index) => sum / (PRIOR_MEMBERS + (counts[index] ?? 0)));
}

/** The part of a centred target that its classes explain, for each row by the folds that have not seen it. */
export function heldOutClassPart(set: TrainingSet, target: Float64Array, probabilities: Matrix): Float64Array {
  const means = Array.from({ length: FOLDS }, (_, fold) => classMeans(set, target, fold));
  return target.map((_, row) => {
    const own = means[set.foldOf[row] ?? 0];
    return rowOf(probabilities, row).reduce((sum, share, index) => sum + share * (own?.[index] ?? 0), 0);
  });
}

/** How wrong held-out predictions of one expert were. */
export interface Residuals {
  /** Mean squared error by class. */
  readonly classVariances: readonly number[];
  /** Makes errors, divided by the sd that the class variances give, have unit variance. */
  readonly sdScale: number;
}

export function residualsOf(
  set: TrainingSet,
  actual: Float64Array,
  predicted: Float64Array,
  probabilities: Matrix,
): Residuals {
  const rows = [...actual.keys()].filter((row) => !Number.isNaN(actual[row] ?? NaN));
  const square = (row: number) => ((predicted[row] ?? 0) - (actual[row] ?? 0)) ** 2;
  const overall = rows.reduce((sum, row) => sum + square(row), 0) / Math.max(1, rows.length);
  const squares = new Float64Array(set.classes.length).fill(PRIOR_OUTCOMES * overall);
  const counts = new Float64Array(set.classes.length).fill(PRIOR_OUTCOMES);
  for (const row of rows) {
    const own = set.classOf[row] ?? 0;
    squares[own] = (squares[own] ?? 0) + square(row);
    counts[own] = (counts[own] ?? 0) + 1;
  }
  const classVariances = [...squares].map((sum, index) => sum / (counts[index] ?? 1));
  const ratio = rows.reduce((sum, row) => {
    const variance = rowOf(probabilities, row).reduce(
      (total, share, index) => total + share * (classVariances[index] ?? 0),
      0,
    );
    return sum + (variance > 0 ? square(row) / variance : 1);
  }, 0);
  return { classVariances, sdScale: rows.length > 0 ? Math.sqrt(ratio / rows.length) : 1 };
}
