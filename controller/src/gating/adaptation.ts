import type { ClassId, ExpertId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import { ageWeight, type Evidence } from './evidence.js';
import type { ExpertScore } from './gate.js';
import { backwardSolve, cholesky, forwardSolve, matrix } from './linear-algebra.js';
import { type Calibrations, noiseOf, observedQuality } from './source-calibration.js';

/** One expert's correction of the trained gate: a linear function of [1, class, embedding], with its uncertainty. */
export const expertFitSchema = z
  .object({
    expert: z.string().transform((value) => value as ExpertId),
    classes: z.array(z.string().transform((value) => value as ClassId)),
    dimensions: z.number().int().min(0).max(256),
    /** Coefficients: intercept, classes, embedding. */
    mean: z.array(z.number()),
    /** Lower triangle, row by row, of the prior covariance less that which the evidence leaves. */
    settled: z.array(z.number()),
    /** Mean embedding of the evidence by class: where the class's mean quality is read. */
    centroids: z.array(z.array(z.number())),
    observations: z.number().int().nonnegative(),
    fittedAt: z.number().transform((value) => value as UnixMs),
  })
  .refine(
    ({ classes, dimensions, mean, settled, centroids }) =>
      mean.length === 1 + classes.length + dimensions &&
      settled.length === (mean.length * (mean.length + 1)) / 2 &&
      centroids.length === classes.length &&
      centroids.every((one) => one.length === dimensions),
    'figures of different lengths',
  );
export type ExpertFit = Readonly<z.infer<typeof expertFitSchema>>;

/** Whatever the evidence says, it moves a prediction by no more than this. */
export const MOST_CORRECTION = 0.5;
/** What the gate may be wrong by in the mean (sd): no less and no more than this, whatever its error bar. */
const LEAST_PRIOR_SD = 0.05;
const MOST_PRIOR_SD = 0.25;
/** How the prior variance is shared: by everything an expert does, by its classes, by where a prompt lies. */
const SHARES = { intercept: 0.35, class: 0.6, embedding: 0.05 } as const;
/** Of the static error bar at least this share stays: single prompts differ however well an expert is known. */
const LEAST_SD_SHARE = 0.5;

/**
 * Bayesian linear regression of (observed - predicted) in closed form; the prior mean is 0, so without evidence nothing
 * changes, and contradictory evidence comes to little. `evidence` is of one expert and one gate, and not empty.
 * O(n d^2 + d^3) for d = 1 + classes + dimensions.
 */
export function fitExpert(evidence: readonly Evidence[], calibrations: Calibrations, now: UnixMs): ExpertFit {
  const [first] = evidence;
  const classes = [...new Set(evidence.map(({ classId }) => classId))].sort();
  const dimensions = Math.min(...evidence.map(({ embedding }) => embedding?.length ?? 0));
  const size = 1 + classes.length + dimensions;
  const prior = priorOf(evidence, classes.length, dimensions);
  const precision = matrix(size, size);
  const pull = new Float64Array(size);
  prior.forEach((variance, at) => (precision.cells[at * size + at] = 1 / variance));
  for (const one of evidence) {
    const { indices, values } = featuresOf(classes, dimensions, one.classId, one.embedding);
    const weight = ageWeight(one, now) / noiseOf(one, calibrations);
    const residual = observedQuality(one, calibrations) - one.predicted;
    for (let a = 0; a < indices.length; a++) {
      const [i, x] = [indices[a] ?? 0, weight * (values[a] ?? 0)];
      pull[i] = (pull[i] ?? 0) + x * residual;
      for (let b = 0; b < indices.length; b++) {
        const cell = i * size + (indices[b] ?? 0);
        precision.cells[cell] = (precision.cells[cell] ?? 0) + x * (values[b] ?? 0);
      }
    }
  }
  const lower = cholesky(precision);
  forwardSolve(lower, pull);
  backwardSolve(lower, pull);
  const settled: number[] = [];
  for (let i = 0; i < size; i++) {
    const column = new Float64Array(size);
    column[i] = 1;
    forwardSolve(lower, column);
    backwardSolve(lower, column);
    for (let j = 0; j <= i; j++) settled.push(round((i === j ? (prior[i] ?? 0) : 0) - (column[j] ?? 0)));
  }
  return {
    expert: first?.expert ?? ('' as ExpertId),
    classes,
    dimensions,
    mean: [...pull].map(round),
    settled,
    centroids: classes.map((classId) => centroidOf(evidence, classId, dimensions)),
    observations: evidence.length,
    fittedAt: now,
  };
}

/** How far a fit moves a prediction, and how much variance its evidence has settled. */
export interface Correction {
  readonly shift: number;
  readonly settled: number;
}

/** Correction for a prompt; without an embedding that of the class's mean prompt. */
export function correctionOf(fit: ExpertFit, classId: ClassId, embedding: ArrayLike<number> | undefined): Correction {
  const at = fit.classes.indexOf(classId);
  const place = embedding !== undefined && embedding.length === fit.dimensions ? embedding : fit.centroids[at];
  // Runs for each expert at each prompt: written out, for allocating the features would cost more than all of this.
  const { mean, settled: left } = fit;
  const own = at < 0 ? 0 : 1 + at;
  let shift = mean[0] ?? 0;
  let settled = left[0] ?? 0;
  if (own > 0) {
    shift += mean[own] ?? 0;
    settled += (left[triangle(own) + own] ?? 0) + 2 * (left[triangle(own)] ?? 0);
  }
  const first = 1 + fit.classes.length;
  const dimensions = place === undefined ? 0 : fit.dimensions;
  for (let k = 0; k < dimensions; k++) {
    const x = place?.[k] ?? 0;
    const row = triangle(first + k);
    // Only the lower triangle is kept: what is left of the diagonal counts twice.
    let sum = (left[row] ?? 0) + (own > 0 ? (left[row + own] ?? 0) : 0);
    for (let l = 0; l < k; l++) sum += (place?.[l] ?? 0) * (left[row + first + l] ?? 0);
    shift += x * (mean[first + k] ?? 0);
    settled += x * (2 * sum + x * (left[row + first + k] ?? 0));
  }
  return { shift: Math.min(MOST_CORRECTION, Math.max(-MOST_CORRECTION, shift)), settled: Math.max(0, settled) };
}

/** A score as the evidence corrects it; keeps what the trained gate said as `unlearned`. */
export function corrected(score: ExpertScore, { shift, settled }: Correction): ExpertScore {
  const { quality, sd, doubt } = score;
  return {
    ...score,
    quality: Math.min(1, Math.max(0, quality + shift)),
    sd: Math.sqrt(Math.max((LEAST_SD_SHARE * sd) ** 2, sd ** 2 - settled)),
    ...(doubt === undefined ? {} : { doubt: Math.sqrt(Math.max(0, doubt ** 2 - settled)) }),
    unlearned: { quality, sd, ...(doubt === undefined ? {} : { doubt }) },
  };
}

/** Prior variances of the coefficients: what was in doubt of the expert, else its error bar, may be wrong in the mean. Where there are no embeddings, classes have their share. */
function priorOf(evidence: readonly Evidence[], classes: number, dimensions: number): readonly number[] {
  const square = evidence.reduce((sum, { doubt, sd }) => sum + (doubt ?? sd) ** 2, 0) / Math.max(1, evidence.length);
  const total = Math.min(MOST_PRIOR_SD, Math.max(LEAST_PRIOR_SD, Math.sqrt(square))) ** 2;
  const ofClass = SHARES.class + (dimensions === 0 ? SHARES.embedding : 0);
  return [
    total * SHARES.intercept,
    ...Array.from({ length: classes }, () => total * ofClass),
    ...Array.from({ length: dimensions }, () => total * SHARES.embedding),
  ];
}

/** The features that may differ from 0, by index. */
function featuresOf(
  classes: readonly ClassId[],
  dimensions: number,
  classId: ClassId,
  place: ArrayLike<number> | undefined,
): { readonly indices: readonly number[]; readonly values: readonly number[] } {
  const indices = [0];
  const values = [1];
  const at = classes.indexOf(classId);
  if (at >= 0) {
    indices.push(1 + at);
    values.push(1);
  }
  const used = place === undefined ? 0 : dimensions;
  for (let k = 0; k < used; k++) {
    indices.push(1 + classes.length + k);
    values.push(place?.[k] ?? 0);
  }
  return { indices, values };
}

function centroidOf(evidence: readonly Evidence[], classId: ClassId, dimensions: number): number[] {
  const own = evidence.filter((one) => one.classId === classId);
  return Array.from({ length: dimensions }, (_, k) =>
    round(own.reduce((sum, { embedding }) => sum + (embedding?.[k] ?? 0), 0) / Math.max(1, own.length)),
  );
}

const triangle = (row: number): number => (row * (row + 1)) / 2;
/** Records are kept as text: six digits are far below what evidence can tell. */
const round = (value: number): number => Number(value.toPrecision(6));
