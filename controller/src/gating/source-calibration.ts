import { type Evidence, EVIDENCE_SOURCES, type EvidenceSource } from './evidence.js';
import { z } from 'zod';

/**
 * How a source's scale is read as quality.
 *
 * A rating is quality on a scale of its own: `quality = level + slope * (value - centre)`. `centre` is what is said on
 * average and `level` the quality that the gate predicts for the same answers, so ratings move experts against each other and
 * not the whole fleet. What the experts of a class have in common is taken to be the class's: that clients like two
 * classes as much does not make their qualities the same.
 *
 * Agreement and an expert's own confidence are no ratings: what they say is news only as far as it was not to be expected of
 * an answer that was predicted so good, `quality = predicted + slope * (value - centre - gain * (predicted - level))`. Read
 * as ratings they would draw every expert towards the mean of all, the more the oftener they are heard.
 *
 * The slope is never negative: more is never worse.
 */
export const calibrationSchema = z.object({
  centre: z.number(),
  level: z.number(),
  slope: z.number().nonnegative(),
  /** What the source says more of an answer for each unit of predicted quality; of a rating 0. */
  gain: z.number().nonnegative(),
  /** Centre and level of each class for ratings, of each expert where experts are heard on scales of their own. */
  groups: z.record(z.string(), z.object({ centre: z.number(), level: z.number() })),
  variance: z.number().nonnegative(),
  /** Answers with both this and a reference, which slope and variance were learned from. */
  pairs: z.number().int().nonnegative(),
});
export type Calibration = Readonly<z.infer<typeof calibrationSchema>>;
export const calibrationsSchema = z.record(z.enum(EVIDENCE_SOURCES), calibrationSchema);
export type Calibrations = Readonly<Record<EvidenceSource, Calibration>>;

/** A reference is quality itself; what it says of one prompt is spread by the prompt alone. */
const EXACT: Calibration = Object.freeze({ centre: 0, level: 0, slope: 1, gain: 0, groups: {}, variance: 0, pairs: 0 });

/**
 * What is believed before any pair was seen. A thumb is a coin thrown with the quality's chance: variance 0.25 at most.
 * Agreement and an expert's own confidence tell less of quality (small models are sure of wrong answers), so their slopes are
 * flat, that of confidence as validation prompts of the bundled experts show it; their errors are those of a guess within a few tenths.
 */
const PRIOR: Readonly<Record<Exclude<EvidenceSource, 'reference'>, Prior>> = {
  feedback: { centre: 0.6, slope: 1, variance: 0.25, scale: 'rating' },
  agreement: { centre: 0.5, slope: 0.5, variance: 0.09, scale: 'of-all' },
  logprob: { centre: 0.5, slope: 0.05, variance: 0.09, scale: 'of-each' },
};
interface Prior extends Pick<Calibration, 'centre' | 'slope' | 'variance'> {
  /** Read as a rating of a class's answers, or as news beside what all experts say, or beside what each says by itself. */
  readonly scale: 'rating' | 'of-all' | 'of-each';
}
/** Spread (variance) of predicted quality that no gain is believed at for `PRIOR_VALUES` values. */
const PREDICTED_VARIANCE = 0.04;
/** Observations' worth of the prior centre, pairs' worth of the prior slope and variance. */
const PRIOR_VALUES = 20;
const PRIOR_PAIRS = 10;
/** Of a class's only expert this part of an expert, of one and this, is taken to be its own and not the class's. */
const PRIOR_EXPERTS = 0.25;
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

/**
 * Quality that an observation stands for. One thumb may stand for less than 0 or more than 1: cut to what a quality can be,
 * the mean of many would be wrong.
 */
export function observedQuality(one: Evidence, calibrations: Calibrations): number {
  const { source, value, predicted } = one;
  if (source === 'reference') return value;
  const calibration = calibrations[source];
  const { centre, level } = groupOf(one, calibration);
  if (PRIOR[source].scale === 'rating') return level + calibration.slope * (value - centre);
  return predicted + calibration.slope * newsOf(one, calibration);
}

type Scale = Pick<Calibration, 'centre' | 'level' | 'gain' | 'groups'>;

/** How much more a source says than was to be expected of an answer that was predicted so good. */
function newsOf(one: Evidence, scale: Scale): number {
  const { centre, level } = groupOf(one, scale);
  return one.value - centre - scale.gain * (one.predicted - level);
}

function groupOf(one: Evidence, scale: Scale): { readonly centre: number; readonly level: number } {
  const key = groupKey(one);
  return (key === undefined ? undefined : scale.groups[key]) ?? scale;
}

function groupKey({ source, classId, expert }: Evidence): string | undefined {
  if (source === 'reference') return undefined;
  switch (PRIOR[source].scale) {
    case 'rating':
      return classId;
    case 'of-each':
      return expert;
    case 'of-all':
      return undefined;
  }
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
  const isRating = prior.scale === 'rating';
  // An expert that only its card is known of is no measure of a scale: its prediction may be what is wrong.
  const measures = isRating ? own.filter(({ doubt = 0 }) => doubt === 0) : own;
  const overall = meansOf(measures, prior.centre);
  const groups = isRating ? classScales(measures, overall) : expertScales(own, prior);
  const means = { ...overall, gain: 0, groups };
  const scale = { ...means, gain: isRating ? 0 : gainOf(own, means) };
  const pairs = own.flatMap((one) => {
    const reference = references.get(keyOf(one));
    if (reference === undefined) return [];
    const quality = reference - (isRating ? scale.level : one.predicted);
    return [{ x: newsOf(one, scale), quality }];
  });
  return { ...scale, ...lineThrough(pairs, prior), pairs: pairs.length };
}

/** What is said and what was predicted, on average; few values are drawn to `around`. */
function meansOf(own: readonly Evidence[], around: number): { readonly centre: number; readonly level: number } {
  return {
    centre: (PRIOR_VALUES * around + sum(own, ({ value }) => value)) / (PRIOR_VALUES + own.length),
    level: own.length === 0 ? around : sum(own, ({ predicted }) => predicted) / own.length,
  };
}

/** Centre of each class: the fleet's, and what the class's experts are rated above it alike, whoever answers how often. */
function classScales(
  own: readonly Evidence[],
  { centre, level }: Pick<Calibration, 'centre' | 'level'>,
): Calibration['groups'] {
  const scales = grouped(own, ({ classId }) => classId).map(([classId, ofClass]) => {
    const experts = grouped(ofClass, ({ expert }) => expert).map(([, values]) => ({
      weight: values.length / (values.length + PRIOR_VALUES),
      above: sum(values, ({ value, predicted }) => value - centre - (predicted - level)) / values.length,
    }));
    const common =
      sum(experts, ({ weight, above }) => weight * above) / (PRIOR_EXPERTS + sum(experts, ({ weight }) => weight));
    return [classId, { centre: centre + common, level }] as const;
  });
  return Object.fromEntries(scales);
}

function expertScales(own: readonly Evidence[], { scale, centre }: Prior): Calibration['groups'] {
  if (scale !== 'of-each') return {};
  const around = meansOf(own, centre).centre;
  return Object.fromEntries(grouped(own, ({ expert }) => expert).map(([expert, of]) => [expert, meansOf(of, around)]));
}

function grouped<K>(
  own: readonly Evidence[],
  by: (one: Evidence) => K,
): readonly (readonly [K, readonly Evidence[]])[] {
  const groups = new Map<K, Evidence[]>();
  for (const one of own) groups.set(by(one), [...(groups.get(by(one)) ?? []), one]);
  return [...groups];
}

/** Slope of what is said on what was predicted, about the means; shrunk towards and never below 0. */
function gainOf(own: readonly Evidence[], means: Scale): number {
  const moved = own.map((one) => {
    const { centre, level } = groupOf(one, means);
    return { x: one.predicted - level, y: one.value - centre };
  });
  const square = PRIOR_VALUES * PREDICTED_VARIANCE + sum(moved, ({ x }) => x * x);
  return Math.max(0, sum(moved, ({ x, y }) => x * y) / square);
}

/** Quality on x through the origin: slope, and error about it. */
function lineThrough(
  pairs: readonly { readonly x: number; readonly quality: number }[],
  prior: Prior,
): Pick<Calibration, 'slope' | 'variance'> {
  const spread = PRIOR_PAIRS * VALUE_VARIANCE;
  const fitted =
    (spread * prior.slope + sum(pairs, ({ x, quality }) => x * quality)) / (spread + sum(pairs, ({ x }) => x * x));
  const slope = Math.max(0, fitted);
  const error = sum(pairs, ({ x, quality }) => (quality - slope * x) ** 2);
  const variance = (PRIOR_PAIRS * prior.variance + error) / (PRIOR_PAIRS + pairs.length);
  return { slope, variance: Math.max(LEAST_VARIANCE, variance) };
}

const keyOf = ({ subject, expert }: Evidence): string => `${subject}\n${expert}`;

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
