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
