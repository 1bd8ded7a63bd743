import type { PromptMap } from './blend-fit.js';
import { rowOf } from './linear-algebra.js';

/** Outcomes' worth of the expert's overall error that a class's own error starts from. */
const PRIOR_OUTCOMES = 10;
/** Shares of the binomial variance that are tried. */
const SHARES = [0, 0.25, 0.5, 0.75, 1] as const;
/** Variances below this are rounding. */
const LEAST_VARIANCE = 1e-8;

/**
 * How far off one expert's predictions are: variance = classPart * (class variance) + binomialPart * p (1 - p).
 *
 * The second part is the variance of an outcome that is 0 or 1 and right with probability p; for graded outcomes it is small.
 */
export interface ErrorBars {
  /** Mean squared error by class. */
  readonly classVariances: readonly number[];
  readonly classPart: number;
  readonly binomialPart: number;
}

/** From predictions of prompts that were held out; the mix of both parts is the one that makes the errors most likely. */
export function fitErrorBars(map: PromptMap, actual: Float64Array, predicted: Float64Array): ErrorBars {
  const rows = [...actual.keys()].filter((row) => !Number.isNaN(actual[row] ?? NaN));
  const square = (row: number) => ((predicted[row] ?? 0) - (actual[row] ?? 0)) ** 2;
  const overall = rows.reduce((sum, row) => sum + square(row), 0) / Math.max(1, rows.length);
  const squares = new Float64Array(map.taskOfClass.length).fill(PRIOR_OUTCOMES * overall);
  const counts = new Float64Array(map.taskOfClass.length).fill(PRIOR_OUTCOMES);
  for (const row of rows) {
    const own = map.classOf[row] ?? 0;
    squares[own] = (squares[own] ?? 0) + square(row);
    counts[own] = (counts[own] ?? 0) + 1;
  }
  const classVariances = [...squares].map((sum, index) => sum / (counts[index] ?? 1));
  const ofClass = rows.map((row) =>
    rowOf(map.probabilities, row).reduce((sum, share, index) => sum + share * (classVariances[index] ?? 0), 0),
  );
  const binomial = rows.map((row) => (predicted[row] ?? 0) * (1 - (predicted[row] ?? 0)));
  const totalBinomial = binomial.reduce((sum, value) => sum + value, 0);
  const matched = totalBinomial > 0 ? (overall * rows.length) / totalBinomial : 0;
  const tried = SHARES.map((share) => {
    const mix = { classPart: 1 - share, binomialPart: share * matched };
    const variances = rows.map((_, at) =>
      Math.max(LEAST_VARIANCE, mix.classPart * (ofClass[at] ?? 0) + mix.binomialPart * (binomial[at] ?? 0)),
    );
    const ratio = rows.reduce((sum, row, at) => sum + square(row) / (variances[at] ?? 1), 0) / Math.max(1, rows.length);
    const scale = Math.max(ratio, LEAST_VARIANCE);
    const loss = variances.reduce((sum, variance) => sum + Math.log(variance * scale), 0);
    return { classPart: mix.classPart * scale, binomialPart: mix.binomialPart * scale, loss };
  });
  const best = tried.reduce((least, one) => (one.loss < least.loss ? one : least));
  return { classVariances, classPart: best.classPart, binomialPart: best.binomialPart };
}
