/**
 * Cascade: a cheap expert answers first; where its own confidence says that the answer is poor, a better expert answers
 * instead (Chen et al. 2023, FrugalGPT; thresholds here from a value-of-information argument instead of a search).
 *
 * The mean log-probability l of an answer moves its predicted quality to
 *
 *     q'(l) = q + slope * (l - mean)
 *
 * with the expert's own mean and slope, fitted on validation prompts (`gating/confidence.ts`). Before the answer q' is
 * normal with mean q and standard deviation s = |slope| * sd. Asking i first and falling back on j is worth
 *
 *     V(i, j) = -cost_i + E max(q'_i, v_j),   v_j = quality_j - cost_j
 *
 * at the prices in force. The pair with the highest V is taken, and j is asked when q'_i < v_j.
 */
import type { AnswerConfidence } from '../../gating/gate.js';
import type { Member } from './members.js';

export interface CascadePlan {
  readonly first: Member;
  /** Undefined when there is nobody else to ask. */
  readonly next: Member | undefined;
  /** `next` is asked when the quality predicted after the first answer is below this; -Infinity: never. */
  readonly threshold: number;
  /** Expected quality less priced cost of both. */
  readonly value: number;
}

/** The best pair of members; of equal ones, the one whose first needs less energy. Undefined without members. O(n^2). */
export function planCascade(
  members: readonly Member[],
  confidenceOf: (member: Member) => AnswerConfidence,
): CascadePlan | undefined {
  let best: CascadePlan | undefined;
  for (const first of members) {
    const spread = Math.abs(confidenceOf(first).slope) * confidenceOf(first).sd;
    for (const next of members) {
      if (next === first) continue;
      const value = first.value - first.quality + expectedBest(first.quality, spread, next.value);
      const isBetter =
        best === undefined ||
        value > best.value + TIE ||
        (value > best.value - TIE && first.energy < best.first.energy);
      if (isBetter) best = { first, next, threshold: next.value, value };
    }
  }
  const [only] = members;
  if (best !== undefined || only === undefined) return best;
  return { first: only, next: undefined, threshold: -Infinity, value: only.value };
}

const TIE = 1e-9;

/** Quality of the answer that was given, by its mean log-probability; the prediction itself where that is unknown. */
export function qualityAfter(
  member: Member,
  { slope, mean }: AnswerConfidence,
  meanLogProb: number | undefined,
): number {
  if (meanLogProb === undefined) return member.quality;
  return Math.min(1, Math.max(0, member.quality + slope * (meanLogProb - mean)));
}

/** E max(X, other) for X normal (Clark 1961, eq. 2). */
function expectedBest(mean: number, sd: number, other: number): number {
  if (sd < 1e-12) return Math.max(mean, other);
  const z = (mean - other) / sd;
  return other + (mean - other) * normalCdf(z) + sd * normalDensity(z);
}

const normalDensity = (z: number): number => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);

/** Abramowitz & Stegun 26.2.17: within 8e-8. */
function normalCdf(z: number): number {
  const t = 1 / (1 + 0.231_641_9 * Math.abs(z));
  const tail =
    normalDensity(z) *
    t *
    (0.319_381_53 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
  return z >= 0 ? 1 - tail : tail;
}
