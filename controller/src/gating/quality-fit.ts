import { blendOf, classMeans, type Residuals, residualsOf } from './blend-predictions.js';
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
 * the expert's own, and predicts the last two apart.
 *
 * The experts' own parts are shrunk by one common measure. A choice between experts depends on differences only; were
 * each expert shrunk by its own best measure, the common part would leak into the differences, and the expert with the
 * least shrinkage would win every easy prompt.
 */
export function fitQuality(set: TrainingSet, scores: Matrix, probabilities: Matrix): readonly QualityFit[] {
  const folds = { of: set.foldOf, count: FOLDS };
  const means = set.quality.map((quality) => meanOf(knownOf(quality)));
  const common = commonPart(set.quality, means);
  const own = set.quality.map((quality, expert) =>
    quality.map((value, row) => value - (means[expert] ?? 0) - (common[row] ?? 0)),
  );
  const [commonFit] = fitRidge(scores, [common], folds, 'each');
  const ownFits = fitRidge(scores, own, folds, 'shared');
  const commonBlend = blendOf(set, [common], commonFit === undefined ? [] : [commonFit], probabilities);
  const ownBlend = blendOf(set, own, ownFits, probabilities);
  const commonMeans = classMeans(set, common);
  return set.quality.map((quality, expert) => {
    const mean = means[expert] ?? 0;
    const ownFit = ownFits[expert];
    const ownMeans = classMeans(set, own[expert] ?? new Float64Array());
    const predicted = quality.map((_, row) =>
      clamp01(mean + (commonBlend.heldOut[0]?.[row] ?? 0) + (ownBlend.heldOut[expert]?.[row] ?? 0)),
    );
    return {
      intercept: mean + commonBlend.ridge * (commonFit?.intercept ?? 0) + ownBlend.ridge * (ownFit?.intercept ?? 0),
      coefficients: new Float64Array(scores.columns).map(
        (_, at) =>
          commonBlend.ridge * (commonFit?.coefficients[at] ?? 0) + ownBlend.ridge * (ownFit?.coefficients[at] ?? 0),
      ),
      offsets: commonMeans.map(
        (value, index) => commonBlend.byClass * value + ownBlend.byClass * (ownMeans[index] ?? 0),
      ),
      residuals: residualsOf(set, quality, predicted, probabilities),
    };
  });
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
