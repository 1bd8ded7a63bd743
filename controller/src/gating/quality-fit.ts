import { classMeans, heldOutClassPart, type Residuals, residualsOf } from './blend-predictions.js';
import type { Matrix } from './linear-algebra.js';
import { fitRidge } from './ridge.js';
import { FOLDS, type TrainingSet } from './training-set.js';

/**
 * Ridge strength of every expert's fit, for prompts of unit length. A constant, not chosen from outcomes: were it chosen
 * for all experts together, each would depend on the others; were each shrunk by its own best measure, how hard a prompt
 * is would leak into the differences between experts, and the one with the least shrinkage would win every easy prompt.
 * Picked among 1 to 30 on four sets of outcomes; 3 to 10 choose about as well (`docs/formulation.md`).
 */
const STRENGTH = 5;

/** How one expert's quality is predicted: intercept + scores * coefficients + sum over classes of probability * offset. */
export interface QualityFit {
  readonly intercept: number;
  readonly coefficients: Float64Array;
  readonly offsets: Float64Array;
  readonly residuals: Residuals;
}

/**
 * Predicts each expert's quality from the prompt's classes first, then what those leave over from its features.
 *
 * An expert's fit depends on the prompts and on its own outcomes, never on those of another: fitted together or alone,
 * it is the same to the last bit. Linear in the outcomes, so that differences between experts are fitted as well.
 */
export function fitQuality(set: TrainingSet, scores: Matrix, probabilities: Matrix): readonly QualityFit[] {
  const means = set.quality.map((quality) => meanOf(knownOf(quality)));
  const targets = set.quality.map((quality, expert) => quality.map((value) => value - (means[expert] ?? 0)));
  const byClass = targets.map((target) => heldOutClassPart(set, target, probabilities));
  const rest = targets.map((target, at) => target.map((value, row) => value - (byClass[at]?.[row] ?? 0)));
  const ridge = fitRidge(scores, rest, { of: set.foldOf, count: FOLDS }, [STRENGTH]);
  return set.quality.map((quality, expert) => {
    const [mean, fit] = [means[expert] ?? 0, ridge[expert]];
    const predicted = quality.map((_, row) => clamp01(mean + (byClass[expert]?.[row] ?? 0) + (fit?.heldOut[row] ?? 0)));
    return {
      intercept: mean + (fit?.intercept ?? 0),
      coefficients: fit?.coefficients ?? new Float64Array(scores.columns),
      offsets: classMeans(set, targets[expert] ?? new Float64Array()),
      residuals: residualsOf(set, quality, predicted, probabilities),
    };
  });
}

export function knownOf(values: Float64Array | undefined): Float64Array {
  return (values ?? new Float64Array()).filter((value) => !Number.isNaN(value));
}

/** 0 for none. */
export function meanOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function clamp01(value: number): number {
  return Math.min(1, Math.max(0, value));
}
