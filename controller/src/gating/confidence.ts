import type { ExpertId } from '@fleetgate/shared/ids';

import type { AnswerConfidence } from './gate.js';

/** Until validation says otherwise: the most that a bundled expert showed beyond what the gate predicts. */
const UNFITTED_SLOPE = 0.03;
/** Typical of an answer nobody has seen yet, natural logarithm per token. */
const TYPICAL_MEAN = -1.2;
const TYPICAL_SD = 0.4;
/** Answers' worth that the typical values count for. */
const PRIOR_ANSWERS = 8;
/** The newest answer counts for at least one in this many. */
const MEMORY = 256;

/**
 * Fits what an expert's confidence says of its quality beyond what the gate predicts: the slope of (actual - predicted)
 * on the mean log-probability, shrunk towards 0 as if `PRIOR_ANSWERS` more answers had shown no relation, and never below
 * 0: an expert that is surer where it is worse is not believed in either direction. Undefined for fewer than 20 answers.
 */
export function fitConfidence(
  answers: readonly { readonly meanLogProb: number; readonly predicted: number; readonly actual: number }[],
): AnswerConfidence | undefined {
  if (answers.length < 20) return undefined;
  const count = answers.length;
  const mean = answers.reduce((sum, one) => sum + one.meanLogProb, 0) / count;
  const rest = answers.reduce((sum, one) => sum + one.actual - one.predicted, 0) / count;
  let [square, product] = [0, 0];
  for (const { meanLogProb, predicted, actual } of answers) {
    square += (meanLogProb - mean) ** 2;
    product += (meanLogProb - mean) * (actual - predicted - rest);
  }
  const sd = Math.sqrt(square / (count - 1));
  const slope = product / (square + PRIOR_ANSWERS * TYPICAL_SD ** 2);
  return { mean, sd, slope: Math.max(0, slope) };
}

/** What is known of each expert's confidence: as fitted on validation prompts, else from its answers so far. */
export class ConfidenceModel {
  readonly #fitted: (expert: ExpertId) => AnswerConfidence | undefined;
  readonly #seen = new Map<ExpertId, { readonly count: number; readonly mean: number; readonly variance: number }>();

  constructor(fitted: (expert: ExpertId) => AnswerConfidence | undefined = () => undefined) {
    this.#fitted = fitted;
  }

  of(expert: ExpertId): AnswerConfidence {
    const fitted = this.#fitted(expert);
    if (fitted !== undefined) return fitted;
    const seen = this.#seen.get(expert) ?? { count: 0, mean: 0, variance: 0 };
    const total = PRIOR_ANSWERS + seen.count;
    const mean = (PRIOR_ANSWERS * TYPICAL_MEAN + seen.count * seen.mean) / total;
    const variance = (PRIOR_ANSWERS * TYPICAL_SD ** 2 + seen.count * seen.variance) / total;
    return { mean, sd: Math.sqrt(variance), slope: UNFITTED_SLOPE };
  }

  /** An answer of `expert`; older ones are forgotten exponentially. */
  observe(expert: ExpertId, meanLogProb: number): void {
    const seen = this.#seen.get(expert) ?? { count: 0, mean: meanLogProb, variance: 0 };
    const count = Math.min(MEMORY, seen.count + 1);
    const delta = meanLogProb - seen.mean;
    const mean = seen.mean + delta / count;
    const variance = seen.variance + (delta * (meanLogProb - mean) - seen.variance) / count;
    this.#seen.set(expert, { count, mean, variance });
  }
}
