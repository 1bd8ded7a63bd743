import { z } from 'zod';

/** What is kept of a sequence of real numbers. */
export const meanSequenceSchema = z.object({
  n: z.number().int().nonnegative(),
  mean: z.number(),
  /** Sum of squared deviations from the mean (Welford). */
  squares: z.number().nonnegative(),
});
export type MeanSequence = Readonly<z.infer<typeof meanSequenceSchema>>;

export const NO_VALUES: MeanSequence = { n: 0, mean: 0, squares: 0 };

/** Below, a spread that was estimated says too little. */
const LEAST_VALUES = 20;
/** The bounds are tightest about there, values. */
const TIGHTEST_AT = 60;

export function withValue({ n, mean, squares }: MeanSequence, value: number): MeanSequence {
  const next = mean + (value - mean) / (n + 1);
  return { n: n + 1, mean: next, squares: squares + (value - mean) * (value - next) };
}

/** Where a mean lies, whenever one looks. */
export interface MeanBounds {
  readonly lower: number;
  readonly upper: number;
}

/**
 * Bounds of the mean that hold at all times at once with probability 1 - `alpha`, so that one may look after every value
 * and stop when one likes: the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
 * ("Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52, 2024, eq. 3), a normal
 * mixture's boundary with the spread estimated. Asymptotic: with few values it claims a little too much, hence none below 20.
 */
export function meanBounds(sequence: MeanSequence, alpha: number): MeanBounds {
  const { n, mean, squares } = sequence;
  if (n < LEAST_VALUES) return { lower: -Infinity, upper: Infinity };
  const width = Math.sqrt((squares / (n - 1)) * boundary(n, alpha));
  return { lower: mean - width, upper: mean + width };
}

/** Squared width for values of spread 1. */
function boundary(n: number, alpha: number): number {
  const log = -2 * Math.log(alpha);
  const rho2 = (log + Math.log(log + 1)) / TIGHTEST_AT;
  const grown = n * rho2 + 1;
  return ((2 * grown) / (n * n * rho2)) * Math.log(Math.sqrt(grown) / alpha);
}
