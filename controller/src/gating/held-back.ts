import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { correctionOf, type ExpertFit } from './adaptation.js';
import { ageWeight, type Evidence, isHeldBack } from './evidence.js';
import { type Calibrations, noiseOf, observedQuality } from './source-calibration.js';

/** Held-back observations that judge one expert, the newest. */
const JUDGES = 200;

export interface Bench {
  readonly calibrations: Calibrations;
  readonly now: UnixMs;
}

/** The newest held-back observations of `evidence` that pass `when`. */
export function judgesOf(evidence: readonly Evidence[], when: (one: Evidence) => boolean): readonly Evidence[] {
  return evidence.filter((one) => isHeldBack(one) && when(one)).slice(-JUDGES);
}

/**
 * How much better `fit` predicts the judges than `other` (undefined: the trained gate as it is), as the mean of paired
 * differences of weighted squared errors and its standard error. Above 0: better.
 */
export function comparison(
  judges: readonly Evidence[],
  fit: ExpertFit | undefined,
  other: ExpertFit | undefined,
  bench: Bench,
): { readonly mean: number; readonly standardError: number } {
  const gains = judges.map((one) => weighedError(one, other, bench) - weighedError(one, fit, bench));
  const mean = gains.reduce((sum, gain) => sum + gain, 0) / Math.max(1, gains.length);
  const variance = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / Math.max(1, gains.length - 1);
  return { mean, standardError: Math.sqrt(variance / Math.max(1, gains.length)) };
}

/** Root of the weighted mean squared error on the judges; undefined without any. */
export function heldBackError(
  judges: readonly Evidence[],
  fitOf: (one: Evidence) => ExpertFit | undefined,
  bench: Bench,
): number | undefined {
  const weights = judges.reduce((sum, one) => sum + weightOf(one, bench), 0);
  if (weights === 0) return undefined;
  return Math.sqrt(judges.reduce((sum, one) => sum + weighedError(one, fitOf(one), bench), 0) / weights);
}

function weighedError(one: Evidence, fit: ExpertFit | undefined, bench: Bench): number {
  const shift = fit === undefined ? 0 : correctionOf(fit, one.classId, one.embedding).shift;
  const predicted = Math.min(1, Math.max(0, one.predicted + shift));
  return weightOf(one, bench) * (observedQuality(one, bench.calibrations) - predicted) ** 2;
}

const weightOf = (one: Evidence, { calibrations, now }: Bench): number =>
  ageWeight(one, now) / noiseOf(one, calibrations);
