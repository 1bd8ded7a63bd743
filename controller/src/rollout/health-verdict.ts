import { type MeanBounds, meanBounds } from './mean-sequence.js';
import type { Evidence } from './rollout-record.js';
import type { HealthGate } from './rollout-spec.js';
import { shareBounds } from './share-sequence.js';

export const HEALTH_METRICS = ['quality', 'errors', 'tokensPerS', 'joulesPerToken'] as const;
export type HealthMetric = (typeof HEALTH_METRICS)[number];

/** How one metric stands: what is lost lies between the bounds, more than 0 is worse than the incumbent. */
export interface HealthVerdict {
  readonly metric: HealthMetric;
  /** Tolerated. */
  readonly margin: number;
  readonly lost: MeanBounds;
  /** Seen of candidate and incumbent; of quality, pairs. */
  readonly n: readonly [candidate: number, incumbent: number];
  /** `worse`: more than the margin is lost, for certain. `not-worse`: no more than that, for certain. */
  readonly verdict: 'worse' | 'not-worse' | 'undecided';
}

/**
 * Holds the candidate against the incumbent, metric by metric. However often it is asked, it says `worse` of a candidate
 * that loses no more than the margins with a probability of `gate.alpha` at most: the metrics share it evenly (Bonferroni),
 * and of two sequences each has half of its metric's.
 */
export function healthVerdicts(evidence: Evidence, gate: HealthGate): readonly HealthVerdict[] {
  const looked = HEALTH_METRICS.filter((metric) => gate[metric] !== null);
  return looked.map((metric) => verdictOf(metric, gate[metric] ?? 0, evidence, gate.alpha / looked.length));
}

function verdictOf(metric: HealthMetric, margin: number, evidence: Evidence, alpha: number): HealthVerdict {
  const { lost, n } = lossOf(metric, evidence, alpha);
  // A share of speed or energy, as the logarithms' difference has it.
  const most =
    metric === 'tokensPerS' ? -Math.log(1 - margin) : metric === 'joulesPerToken' ? Math.log1p(margin) : margin;
  const verdict = lost.lower > most ? 'worse' : lost.upper <= most ? 'not-worse' : 'undecided';
  return { metric, margin, lost, n, verdict };
}

function lossOf(metric: HealthMetric, evidence: Evidence, alpha: number): Pick<HealthVerdict, 'lost' | 'n'> {
  switch (metric) {
    case 'quality': {
      const { n } = evidence.quality;
      const { lower, upper } = meanBounds(evidence.quality, alpha);
      return { lost: { lower: -upper, upper: -lower }, n: [n, n] };
    }
    case 'errors': {
      const { candidate, incumbent } = evidence.errors;
      const more = difference(shareBounds(candidate, alpha / 2), shareBounds(incumbent, alpha / 2));
      return { lost: more, n: [candidate.n, incumbent.n] };
    }
    case 'tokensPerS':
    case 'joulesPerToken': {
      const { candidate, incumbent } = evidence[metric];
      const [of, than] = [meanBounds(candidate, alpha / 2), meanBounds(incumbent, alpha / 2)];
      const lost = metric === 'tokensPerS' ? difference(than, of) : difference(of, than);
      return { lost, n: [candidate.n, incumbent.n] };
    }
  }
}

/** Of what is left when `b` is taken from `a`. */
function difference(a: MeanBounds, b: MeanBounds): MeanBounds {
  return { lower: a.lower - b.upper, upper: a.upper - b.lower };
}
