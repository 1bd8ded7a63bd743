import { type Matrix, matrix, rowOf } from './linear-algebra.js';

const TEMPERATURES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] as const;

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

/** The temperature that makes the tasks of prompts most likely, given scores by fits that have not seen them. */
export function temperatureOf(heldOutScores: Matrix, taskOf: Uint8Array): number {
  const losses = TEMPERATURES.map((temperature) => {
    const probabilities = taskProbabilities(heldOutScores, temperature);
    let loss = 0;
    taskOf.forEach((own, row) => (loss -= Math.log(Math.max(1e-9, rowOf(probabilities, row)[own] ?? 0))));
    return loss;
  });
  return TEMPERATURES[losses.indexOf(Math.min(...losses))] ?? 1;
}

/** Rows x tasks. */
export function taskProbabilities(scores: Matrix, temperature: number): Matrix {
  const probabilities = matrix(scores.rows, scores.columns);
  for (let row = 0; row < scores.rows; row++) posterior(rowOf(scores, row), temperature, rowOf(probabilities, row));
  return probabilities;
}

/** Scores of the likeliest task between which a prompt turns from unlike (1) to like (0) the prompts of that task. */
export interface Typicality {
  readonly atypical: number;
  readonly typical: number;
}

/** Shares of a task's own prompts, held out, that score lower: a conformal bound (Vovk et al. 2005) on being one of them. */
const ATYPICAL_SHARE = 0.01;
const TYPICAL_SHARE = 0.05;
/** Scores are near 1 for a task and 0 for others: very uniform training prompts are not to make strangers of all others. */
const LEAST_SPAN = 0.15;
/** With fewer prompts the quantiles are those of all tasks together. */
const FEWEST_PROMPTS = 40;

/**
 * For each task the scores that its own prompts hardly ever fall below. A posterior alone is sure of a task also where
 * nothing speaks for it but that less speaks for the others.
 */
export function typicalityOf(heldOutScores: Matrix): readonly Typicality[] {
  const byTask = Array.from({ length: heldOutScores.columns }, () => [] as number[]);
  for (let row = 0; row < heldOutScores.rows; row++) {
    const scores = rowOf(heldOutScores, row);
    const at = indexOfLargest(scores);
    byTask[at]?.push(scores[at] ?? 0);
  }
  const all = quantiles(byTask.flat());
  return byTask.map((own) => (own.length < FEWEST_PROMPTS ? all : quantiles(own)));
}

/** 0 for a prompt whose likeliest task scores as its own prompts do, 1 for one that scores lower than they ever do. */
export function atypicality(score: number, { atypical, typical }: Typicality): number {
  return Math.min(1, Math.max(0, (typical - score) / (typical - atypical)));
}

export function indexOfLargest(values: ArrayLike<number>): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if ((values[at] ?? 0) > (values[best] ?? 0)) best = at;
  return best;
}

function quantiles(values: readonly number[]): Typicality {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * sorted.length)] ?? 0;
  const typical = at(TYPICAL_SHARE);
  return { atypical: Math.min(at(ATYPICAL_SHARE), typical - LEAST_SPAN), typical };
}
