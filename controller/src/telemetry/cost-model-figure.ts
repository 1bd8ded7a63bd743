/**
 * A positive figure learned from noisy observations: mean and variance of its logarithm, with exponential forgetting.
 *
 * In logarithms because speeds differ by factors, errors are relative and an estimate can never turn negative.
 */
export interface LogFigure {
  readonly mean: number;
  readonly variance: number;
  /** Observations' worth of knowledge, up to `MOST_WEIGHT`; 0 for a mere guess. */
  readonly weight: number;
}

/** Forgetting: the newest observation counts for at least 1 in this many. */
const MOST_WEIGHT = 16;
/** An observation moves the figure as if it were at most this many standard deviations off. */
const CLIP = 2.5;
/** Squared deviations count up to this multiple of the variance: a repeated surprise widens the clip, one does not. */
const VARIANCE_CLIP = 9;
/** Nothing is known to better than 2 %. */
const LEAST_VARIANCE = 0.02 ** 2;

export function guess(value: number, relativeSd: number): LogFigure {
  return { mean: Math.log(value), variance: Math.max(LEAST_VARIANCE, relativeSd ** 2), weight: 0 };
}

export function known(value: number, relativeSd: number, weight: number): LogFigure {
  return { mean: Math.log(value), variance: Math.max(LEAST_VARIANCE, relativeSd ** 2), weight };
}

/**
 * The figure after one observation of its logarithm's `error` (observed less predicted); `trust` 0..1 for observations
 * that say less.
 */
export function updated(figure: LogFigure, error: number, trust: number): LogFigure {
  const gain = trust / (Math.min(figure.weight, MOST_WEIGHT) + 1);
  // One slower than the mean's: the first observation must not set both to itself.
  const spreadGain = trust / (Math.min(figure.weight, MOST_WEIGHT) + 2);
  const sd = Math.sqrt(figure.variance);
  const moved = Math.min(CLIP * sd, Math.max(-CLIP * sd, error));
  const square = Math.min(VARIANCE_CLIP * figure.variance, error * error);
  return {
    mean: figure.mean + gain * moved,
    variance: Math.max(LEAST_VARIANCE, (1 - spreadGain) * figure.variance + spreadGain * square),
    weight: Math.min(MOST_WEIGHT, figure.weight + trust),
  };
}

/** Both kinds of knowledge in one, by weight: a new benchmark does not wipe out what jobs have shown. */
export function merged(old: LogFigure, fresh: LogFigure): LogFigure {
  if (old.weight === 0) return fresh;
  const share = fresh.weight / (old.weight + fresh.weight);
  const apart = fresh.mean - old.mean;
  return {
    mean: old.mean + share * apart,
    variance: (1 - share) * old.variance + share * fresh.variance + share * (1 - share) * apart * apart,
    weight: Math.min(MOST_WEIGHT, old.weight + fresh.weight),
  };
}

export function valueOf(figure: LogFigure): number {
  return Math.exp(figure.mean);
}

/** Of the next observation: its own scatter and what is not known of the mean. */
export function relativeSdOf(figure: LogFigure): number {
  return Math.sqrt(figure.variance * (1 + 1 / (1 + figure.weight)));
}
