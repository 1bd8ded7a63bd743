import { classMeans, heldOutClassPart, type Residuals, residualsOf, sharesOf } from './blend-predictions.js';
import type { Matrix } from './linear-algebra.js';
import { fitRidge } from './ridge.js';
import { FOLDS, type TrainingSet } from './training-set.js';

/** How one expert's quality is predicted: intercept + scores * coefficients + sum over classes of probability * offset. */
export interface QualityFit {
  readonly intercept: number;
  readonly coefficients: Float64Array;
  readonly offsets: Float64Array;
  readonly residuals: Residuals;
}

/**
 * Splits each outcome into the expert's mean, what all experts have in common on the prompt (how hard it is) and what is
 * the expert's own, and predicts the last two apart: from the prompt's classes first, then what those leave over from
 * its features.
 *
 * The experts' own parts are shrunk by one common measure. A choice between experts depends on differences only; were
 * each expert shrunk by its own best measure, the common part would leak into the differences, and the expert with the
 * least shrinkage would win every easy prompt.
 */
export function fitQuality(set: TrainingSet, scores: Matrix, probabilities: Matrix): readonly QualityFit[] {
  const means = set.quality.map((quality) => meanOf(knownOf(quality)));
  const common = commonPart(set.quality, means);
  const own = set.quality.map((quality, expert) =>
    quality.map((value, row) => value - (means[expert] ?? 0) - (common[row] ?? 0)),
  );
  const [commonFit] = fitParts(set, scores, probabilities, [common]);
  const ownFits = fitParts(set, scores, probabilities, own);
  return set.quality.map((quality, expert) => {
    const mean = means[expert] ?? 0;
    const parts = [commonFit, ownFits[expert]].filter((part) => part !== undefined);
    const total = (of: (part: PartFit) => number): number => parts.reduce((sum, part) => sum + of(part), 0);
    const predicted = quality.map((_, row) => clamp01(mean + total((part) => part.heldOut[row] ?? 0)));
    return {
      intercept: mean + total((part) => part.intercept),
      coefficients: new Float64Array(scores.columns).map((_, at) => total((part) => part.coefficients[at] ?? 0)),
      offsets: new Float64Array(set.classes.length).map((_, index) => total((part) => part.offsets[index] ?? 0)),
      residuals: residualsOf(set, quality, predicted, probabilities),
    };
  });
}

interface PartFit {
  readonly intercept: number;
  readonly coefficients: Float64Array;
  readonly offsets: Float64Array;
  readonly heldOut: Float64Array;
}

/** Fits targets of mean 0 with one strength and one pair of shares for all. */
function fitParts(
  set: TrainingSet,
  scores: Matrix,
  probabilities: Matrix,
  targets: readonly Float64Array[],
): readonly PartFit[] {
  const byClass = targets.map((target) => heldOutClassPart(set, target, probabilities));
  const rest = targets.map((target, at) => target.map((value, row) => value - (byClass[at]?.[row] ?? 0)));
  const ridge = fitRidge(scores, rest, { of: set.foldOf, count: FOLDS }, 'shared');
  const shares = sharesOf(targets, byClass, ridge);
  return targets.map((target, at) => ({
    intercept: shares.ridge * (ridge[at]?.intercept ?? 0),
    coefficients: (ridge[at]?.coefficients ?? new Float64Array(scores.columns)).map((value) => shares.ridge * value),
    offsets: classMeans(set, target).map((value) => shares.byClass * value),
    heldOut: target.map(
      (_, row) => shares.ridge * (ridge[at]?.heldOut[row] ?? 0) + shares.byClass * (byClass[at]?.[row] ?? 0),
    ),
  }));
}

/** Per prompt: the mean over its measured experts of quality less the expert's mean. */
function commonPart(quality: readonly Float64Array[], means: readonly number[]): Float64Array {
  const rows = quality[0]?.length ?? 0;
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    let count = 0;
    quality.forEach((values, expert) => {
      const value = values[row] ?? NaN;
      if (Number.isNaN(value)) return;
      sum += value - (means[expert] ?? 0);
      count++;
    });
    return sum / Math.max(1, count);
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
