import { z } from 'zod';

import type { MeanBounds } from './mean-sequence.js';

/** What is kept of a sequence of outcomes, each 0 or 1. */
export const shareSequenceSchema = z.object({
  n: z.number().int().nonnegative(),
  sum: z.number().nonnegative(),
  /** Sums over the outcomes: squared deviations from the means before, weights, weighted outcomes, and their price. */
  squares: z.number().nonnegative(),
  weights: z.number().nonnegative(),
  weighted: z.number().nonnegative(),
  price: z.number().nonnegative(),
});
export type ShareSequence = Readonly<z.infer<typeof shareSequenceSchema>>;

export const NO_OUTCOMES: ShareSequence = { n: 0, sum: 0, squares: 0, weights: 0, weighted: 0, price: 0 };

/** The weights are chosen for bounds of this error. */
const ALPHA = 0.0125;
const MOST_WEIGHT = 0.5;

/** The predictable weight of the next outcome is made of those before it only. */
export function withOutcome(sequence: ShareSequence, outcome: 0 | 1): ShareSequence {
  const { n, sum, squares } = sequence;
  const t = n + 1;
  const meanBefore = (0.5 + sum) / t;
  const spreadBefore = (0.25 + squares) / t;
  const weight = Math.min(MOST_WEIGHT, Math.sqrt((2 * Math.log(2 / ALPHA)) / (spreadBefore * t * Math.log(1 + t))));
  const mean = (0.5 + sum + outcome) / (t + 1);
  return {
    n: t,
    sum: sum + outcome,
    squares: squares + (outcome - mean) ** 2,
    weights: sequence.weights + weight,
    weighted: sequence.weighted + weight * outcome,
    price: sequence.price + 4 * (outcome - meanBefore) ** 2 * ((-Math.log(1 - weight) - weight) / 4),
  };
}

/**
 * Bounds of the share of ones that hold at all times at once with probability 1 - `alpha`, also after few outcomes: the
 * predictable plug-in empirical Bernstein confidence sequence of Waudby-Smith and Ramdas ("Estimating means of bounded
 * random variables by betting", JRSS B 86, 2024, theorem 2).
 */
export function shareBounds({ weights, weighted, price }: ShareSequence, alpha: number): MeanBounds {
  if (weights === 0) return { lower: 0, upper: 1 };
  const centre = weighted / weights;
  const width = (Math.log(2 / alpha) + price) / weights;
  return { lower: Math.max(0, centre - width), upper: Math.min(1, centre + width) };
}
