import { joules, type Joules, type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { Candidate } from './candidates.js';
import type { PromptLimits } from './prompt.js';

/** A limit is tight when the predicted answer takes more than this part of it: later there is no time for a second try. */
const TIGHT = 0.5;
/** Of a normal spread, 95 % of first tokens have come by then. */
const QUANTILE_SD = 1.645;
/** Messages go through a broker twice: nothing is late before. */
const LEAST_DELAY_MS = 50;
/** Second jobs that may be saved up for. */
const MOST_CREDIT = 10;
/** Weight of a request in the mean of what requests need. */
const MEAN_WEIGHT = 0.02;

/** The most that a request may take: its own limits and, for what it leaves open, those of its class in the plan. */
export function hedgeLimits(
  limits: PromptLimits,
  ofClass: { readonly latencyMean: Milliseconds; readonly energy: Joules | undefined } | undefined,
): Pick<PromptLimits, 'energy' | 'latency'> {
  return { latency: limits.latency ?? ofClass?.latencyMean, energy: limits.energy ?? ofClass?.energy };
}

/**
 * How long to wait for the first token before another device is asked as well; undefined where the limit leaves time
 * enough to wait and see, or is over by then.
 */
export function hedgeAfter(
  { cost, wait }: Pick<Candidate, 'cost' | 'wait'>,
  limit: Milliseconds | undefined,
): Milliseconds | undefined {
  if (cost === undefined || limit === undefined || cost.latency + wait <= TIGHT * limit) return undefined;
  // The spread of the whole answer, as much as the first token has of it.
  const share = cost.latency > 0 ? cost.firstToken / cost.latency : 1;
  const late = wait + cost.firstToken + QUANTILE_SD * share * cost.latencySd;
  return late < limit ? milliseconds(Math.max(LEAST_DELAY_MS, late)) : undefined;
}

/** What a second job may take when the first began `waited` ago and is still paid for. */
export function limitsLeft(
  limits: Pick<PromptLimits, 'energy' | 'latency'>,
  waited: Milliseconds,
  first: Pick<Candidate, 'cost'>,
): Pick<PromptLimits, 'energy' | 'latency'> {
  const { energy, latency } = limits;
  return {
    latency: latency === undefined ? undefined : milliseconds(latency - waited),
    energy: energy === undefined ? undefined : joules(energy - (first.cost?.energy ?? 0)),
  };
}

/** Whether a second device would begin at once, and answer about as well as the first. */
export function isWorthHedging(
  first: Pick<Candidate, 'quality' | 'qualitySd'>,
  second: Pick<Candidate, 'quality' | 'wait'>,
): boolean {
  return second.wait <= 0 && second.quality >= first.quality - first.qualitySd;
}

/**
 * What second jobs may take of all: at most the share `share` of requests, and of the joules that requests were predicted
 * to need. What is not used is saved for ten of them at most, so that a fleet that slows down is not sent twice the work.
 */
export class HedgeAllowance {
  readonly #share: number;
  #count = 0;
  #energy = 0;
  #meanEnergy = 0;

  constructor(share: number) {
    this.#share = share;
  }

  /** A request has been sent that is predicted to need `energy`. */
  earn(energy: Joules): void {
    this.#meanEnergy = this.#meanEnergy === 0 ? energy : this.#meanEnergy + MEAN_WEIGHT * (energy - this.#meanEnergy);
    this.#count = Math.min(MOST_CREDIT, this.#count + this.#share);
    this.#energy = Math.min(MOST_CREDIT * this.#meanEnergy, this.#energy + this.#share * energy);
  }

  /** Takes a second job of `energy` out of it; false, and nothing is taken, where there is not enough. */
  take(energy: Joules): boolean {
    if (this.#count < 1 || this.#energy < energy) return false;
    this.#count -= 1;
    this.#energy -= energy;
    return true;
  }
}
