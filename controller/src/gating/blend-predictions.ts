import type { RidgeFit } from './ridge.js';
import { FOLDS, type TrainingSet } from './training-set.js';

/** How one expert's predictors are mixed, and how wrong the mixture was on prompts it had not seen. */
export interface Blend {
  readonly ridgeShare: number;
  readonly classShare: number;
  /** Mean squared held-out error by class. */
  readonly classVariances: readonly number[];
  readonly sdScale: number;
}

const TEMPERATURES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] as const;
const STEPS = 20;
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
  const probabilities = new Float64Array(classes.length);
  const losses = TEMPERATURES.map((temperature) => {
    let loss = 0;
    classOf.forEach((own, row) => {
      posterior(
        classes.map((fit) => fit.heldOut[row] ?? 0),
        temperature,
        probabilities,
      );
      loss -= Math.log(Math.max(1e-9, probabilities[own] ?? 0));
    });
    return loss;
  });
  return TEMPERATURES[losses.indexOf(Math.min(...losses))] ?? 1;
}

/** Means of an expert's quality, of a class and over all, optionally leaving one fold out. */
export interface ClassMeans {
  mean(expert: number, index: number): number;
  count(expert: number, index: number): number;
  overall(expert: number): number;
  variance(expert: number): number;
}

/** A class without outcomes of an expert has that expert's overall mean. */
export function classMeans(set: TrainingSet, without?: number): ClassMeans {
  const tables = set.quality.map((quality) => {
    const sums = new Float64Array(set.classes.length);
    const counts = new Float64Array(set.classes.length);
    let sum = 0;
    let squares = 0;
    let count = 0;
    quality.forEach((value, row) => {
      if (Number.isNaN(value) || set.foldOf[row] === without) return;
      const index = set.classOf[row] ?? 0;
      sums[index] = (sums[index] ?? 0) + value;
      counts[index] = (counts[index] ?? 0) + 1;
      sum += value;
      squares += value * value;
      count++;
    });
    const overall = count > 0 ? sum / count : 0;
    return { sums, counts, overall, variance: Math.max(0, squares / Math.max(1, count) - overall * overall) };
  });
  const count = (expert: number, index: number) => tables[expert]?.counts[index] ?? 0;
  const overall = (expert: number) => tables[expert]?.overall ?? 0;
  return {
    count,
    overall,
    mean: (expert, index) =>
      count(expert, index) > 0 ? (tables[expert]?.sums[index] ?? 0) / count(expert, index) : overall(expert),
    variance: (expert) => tables[expert]?.variance ?? 0,
  };
}

/** Chooses the shares of ridge, class mean and mean that had the least squared error on held-out folds. */
export function blendOf(
  set: TrainingSet,
  expert: number,
  fit: RidgeFit,
  classes: readonly RidgeFit[],
  temperature: number,
): Blend {
  const rows = heldOutRows(set, expert, fit, classes, temperature);
  let best = { ridgeShare: 0, classShare: 0, error: Infinity };
  for (let ridge = 0; ridge <= STEPS; ridge++) {
    for (let byClass = 0; ridge + byClass <= STEPS; byClass++) {
      const shares = { ridgeShare: ridge / STEPS, classShare: byClass / STEPS };
      const error = rows.reduce((sum, row) => sum + errorOf(row, shares) ** 2, 0);
      if (error < best.error - 1e-12) best = { ...shares, error };
    }
  }
  const overall = best.error / Math.max(1, rows.length);
  const squares = new Float64Array(set.classes.length).fill(PRIOR_OUTCOMES * overall);
  const counts = new Float64Array(set.classes.length).fill(PRIOR_OUTCOMES);
  for (const row of rows) {
    squares[row.own] = (squares[row.own] ?? 0) + errorOf(row, best) ** 2;
    counts[row.own] = (counts[row.own] ?? 0) + 1;
  }
  const classVariances = [...squares].map((sum, index) => sum / (counts[index] ?? 1));
  const ratio = rows.reduce((sum, row) => {
    const variance = row.probabilities.reduce((total, share, index) => total + share * (classVariances[index] ?? 0), 0);
    return sum + (variance > 0 ? errorOf(row, best) ** 2 / variance : 1);
  }, 0);
  const sdScale = rows.length > 0 ? Math.sqrt(ratio / rows.length) : 1;
  return { ridgeShare: best.ridgeShare, classShare: best.classShare, classVariances, sdScale };
}

interface HeldOutRow {
  readonly actual: number;
  readonly ridge: number;
  readonly byClass: number;
  readonly mean: number;
  readonly own: number;
  readonly probabilities: Float64Array;
}

function errorOf(row: HeldOutRow, shares: { readonly ridgeShare: number; readonly classShare: number }): number {
  const { ridgeShare, classShare } = shares;
  const predicted = ridgeShare * row.ridge + classShare * row.byClass + (1 - ridgeShare - classShare) * row.mean;
  return Math.min(1, Math.max(0, predicted)) - row.actual;
}

function heldOutRows(
  set: TrainingSet,
  expert: number,
  fit: RidgeFit,
  classes: readonly RidgeFit[],
  temperature: number,
): HeldOutRow[] {
  const meansWithout = Array.from({ length: FOLDS }, (_, fold) => classMeans(set, fold));
  const rows: HeldOutRow[] = [];
  set.quality[expert]?.forEach((actual, row) => {
    const means = meansWithout[set.foldOf[row] ?? 0];
    const ridge = fit.heldOut[row] ?? NaN;
    if (Number.isNaN(actual) || Number.isNaN(ridge) || means === undefined) return;
    const probabilities = new Float64Array(classes.length);
    posterior(
      classes.map((one) => one.heldOut[row] ?? 0),
      temperature,
      probabilities,
    );
    const byClass = probabilities.reduce((sum, share, index) => sum + share * means.mean(expert, index), 0);
    rows.push({ actual, ridge, byClass, mean: means.overall(expert), own: set.classOf[row] ?? 0, probabilities });
  });
  return rows;
}
