import { type Evidence, EVIDENCE_SOURCES, type EvidenceSource } from './evidence.js';
import { z } from 'zod';

/**
 * How a source's scale is read as quality: `quality = level + slope * (value - centre)`, with an error of `variance`.
 *
 * `centre` is what the source says on average and `level` the quality that the gate predicts for the same answers, so a
 * source moves experts against each other and not the whole fleet. The slope is never negative: more is never worse.
 */
export const calibrationSchema = z.object({
  centre: z.number(),
  level: z.number(),
  slope: z.number().nonnegative(),
  variance: z.number().nonnegative(),
  /** Answers with both this and a reference, which slope and variance were learned from. */
  pairs: z.number().int().nonnegative(),
});
export type Calibration = Readonly<z.infer<typeof calibrationSchema>>;
export const calibrationsSchema = z.record(z.enum(EVIDENCE_SOURCES), calibrationSchema);
export type Calibrations = Readonly<Record<EvidenceSource, Calibration>>;

/** A reference is quality itself; what it says of one prompt is spread by the prompt alone. */
const EXACT: Calibration = Object.freeze({ centre: 0, level: 0, slope: 1, variance: 0, pairs: 0 });

/**
 * What is believed before any pair was seen. A thumb is a coin thrown with the quality's chance: variance 0.25 at most.
 * Agreement and an expert's own confidence tell less of quality (small models are sure of wrong answers), so their slope is
 * flat; their errors are those of a guess within a few tenths.
 */
const PRIOR: Readonly<Record<Exclude<EvidenceSource, 'reference'>, Omit<Calibration, 'level' | 'pairs'>>> = {
  feedback: { centre: 0.6, slope: 1, variance: 0.25 },
  agreement: { centre: 0.5, slope: 0.5, variance: 0.09 },
  logprob: { centre: 0.5, slope: 0.3, variance: 0.09 },
};
/** Observations' worth of the prior centre, pairs' worth of the prior slope and variance. */
const PRIOR_VALUES = 20;
const PRIOR_PAIRS = 10;
/** Spread of a source's values that the prior slope is worth `PRIOR_PAIRS` at. */
const VALUE_VARIANCE = 0.06;
/**
 * Qualities of single prompts are spread by at least this (sd) about what is predicted for them: by a gate that was trained on
 * the expert, and from its card, which tells no prompt of a class from another.
 */
const LEAST_SPREAD = 0.08;
const CARD_SPREAD = 0.12;
/** No source is ever taken for exact. */
const LEAST_VARIANCE = 0.01;

/** Reads the sources' scales off everything observed. Pure; O(n). */
export function calibrate(evidence: readonly Evidence[]): Calibrations {
  const references = new Map<string, number>();
  for (const one of evidence) if (one.source === 'reference') references.set(keyOf(one), one.value);
  return {
    reference: EXACT,
    feedback: calibrationOf('feedback', evidence, references),
    agreement: calibrationOf('agreement', evidence, references),
    logprob: calibrationOf('logprob', evidence, references),
  };
}

/** Quality that an observation stands for, 0..1. */
export function observedQuality({ source, value }: Evidence, calibrations: Calibrations): number {
  const { centre, level, slope } = calibrations[source];
  return Math.min(1, Math.max(0, level + slope * (value - centre)));
}

/** Variance of an observation about the expert's mean on such prompts: the source's error, and one prompt's spread. */
export function noiseOf({ doubt = 0, source, sd }: Evidence, calibrations: Calibrations): number {
  const least = doubt > 0 ? CARD_SPREAD : LEAST_SPREAD;
  return calibrations[source].variance + Math.max(least ** 2, sd ** 2 - doubt ** 2);
}

function calibrationOf(
  source: keyof typeof PRIOR,
  evidence: readonly Evidence[],
  references: ReadonlyMap<string, number>,
): Calibration {
  const prior = PRIOR[source];
  const own = evidence.filter((one) => one.source === source);
  const centre = (PRIOR_VALUES * prior.centre + sum(own, ({ value }) => value)) / (PRIOR_VALUES + own.length);
  const predicted = own.length === 0 ? prior.centre : sum(own, (one) => one.predicted) / own.length;
  const pairs = own.flatMap((one) => {
    const reference = references.get(keyOf(one));
    return reference === undefined ? [] : [{ x: one.value - centre, quality: reference }];
  });
  const level =
    (PRIOR_PAIRS * predicted + sum(pairs, ({ x, quality }) => quality - prior.slope * x)) /
    (PRIOR_PAIRS + pairs.length);
  const spread = PRIOR_PAIRS * VALUE_VARIANCE;
  const slope =
    (spread * prior.slope + sum(pairs, ({ x, quality }) => x * (quality - level))) /
    (spread + sum(pairs, ({ x }) => x * x));
  const kept = Math.max(0, slope);
  const error = sum(pairs, ({ x, quality }) => (quality - level - kept * x) ** 2);
  const variance = (PRIOR_PAIRS * prior.variance + error) / (PRIOR_PAIRS + pairs.length);
  return { centre, level, slope: kept, variance: Math.max(LEAST_VARIANCE, variance), pairs: pairs.length };
}

const keyOf = ({ subject, expert }: Evidence): string => `${subject}\n${expert}`;

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
