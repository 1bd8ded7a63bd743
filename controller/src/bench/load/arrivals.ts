import type { Random } from '@fleetgate/shared/random';

import type { ValidationPair } from '../disk-validation-pairs.js';

const ANSWER_TOKENS = [8, 16, 32, 64, 128] as const;

/** What a client will ask, and when. */
export interface Arrival {
  /** Since the start of its phase, ms. */
  readonly atMs: number;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly streamed: boolean;
}

/** What is asked, whenever: a prompt of `pairs`, streamed or whole, of some length. */
export function drawQuestion(random: Random, pairs: readonly ValidationPair[]): Omit<Arrival, 'atMs'> {
  return {
    prompt: drawn(random, pairs)?.prompt ?? '',
    maxTokens: drawn(random, ANSWER_TOKENS) ?? ANSWER_TOKENS[0],
    streamed: random.uniform() < 0.5,
  };
}

/** Poisson arrivals, `ratePerS` of them a second in the mean, within `durationMs`; in order. */
export function poissonArrivals(
  random: Random,
  ratePerS: number,
  durationMs: number,
  pairs: readonly ValidationPair[],
): readonly Arrival[] {
  const arrivals: Arrival[] = [];
  if (!(ratePerS > 0)) return arrivals;
  for (let atMs = gap(random, ratePerS); atMs < durationMs; atMs += gap(random, ratePerS)) {
    arrivals.push({ atMs, ...drawQuestion(random, pairs) });
  }
  return arrivals;
}

/** Exponential, ms. */
function gap(random: Random, ratePerS: number): number {
  return (-Math.log(1 - random.uniform()) / ratePerS) * 1000;
}

function drawn<T>(random: Random, from: readonly T[]): T | undefined {
  return from[Math.floor(random.uniform() * from.length)];
}
