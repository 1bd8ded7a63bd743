/** One step of learning. Pure. */
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import { type LogFigure, updated, valueOf } from './cost-model-figure.js';
import type { CostFigures } from './cost-model-prior.js';

/** Nothing is carried to a device and back in less. */
export const LEAST_OVERHEAD_MS = 0.5;
/** Tokens at which half of a job's figure is trusted: per-token times of very short jobs are mostly fixed cost. */
const HALF_TRUST_TOKENS = 8;

/** Prompt tokens that say how long reading a prompt takes: 0 where little was left to evaluate, which is one decode step. */
export function evaluatedTokens({ promptTokens, reusedTokens = 0 }: JobUsage): number {
  const evaluated = promptTokens - reusedTokens;
  return reusedTokens > 0 && evaluated < HALF_TRUST_TOKENS ? 0 : evaluated;
}

/** The figure after `timeMs` for `tokens`. */
export function learn(figure: LogFigure, timeMs: number, tokens: number): LogFigure {
  if (!(timeMs > 0) || !(tokens > 0) || !Number.isFinite(timeMs)) return figure;
  return updated(figure, Math.log(timeMs / tokens) - figure.mean, tokens / (tokens + HALF_TRUST_TOKENS));
}

/** The overhead after a job that took `latency` in all. */
export function learnOverhead(figure: LogFigure, usage: JobUsage, latency: Milliseconds | undefined): LogFigure {
  if (latency === undefined) return figure;
  const unaccounted = latency - usage.queueMs - usage.prefillMs - usage.decodeMs;
  return updated(figure, Math.log(Math.max(LEAST_OVERHEAD_MS, unaccounted)) - figure.mean, 1);
}

// One reading for two unknowns (watts above idle while reading the prompt and while writing): each takes the error in
// proportion to its share of the energy (normalised least mean squares), so jobs of different shapes tell them apart.
export function learnEnergy(
  entry: Pick<CostFigures, 'prefillW' | 'decodeW'>,
  usage: JobUsage,
): Pick<CostFigures, 'prefillW' | 'decodeW'> {
  const { prefillW, decodeW } = entry;
  const prefill = valueOf(prefillW) * usage.prefillMs;
  const decode = valueOf(decodeW) * usage.decodeMs;
  const predictedJ = (prefill + decode) / 1000;
  if (!(usage.energyJ > 0) || !(predictedJ > 0) || !Number.isFinite(usage.energyJ)) return { prefillW, decodeW };
  const error = Math.log(usage.energyJ / predictedJ);
  const prefillShare = prefill / (prefill + decode);
  const decodeShare = 1 - prefillShare;
  const scale = prefillShare ** 2 + decodeShare ** 2;
  const tokens = evaluatedTokens(usage) + usage.outputTokens;
  const trust = tokens / (tokens + HALF_TRUST_TOKENS);
  return {
    prefillW: updated(prefillW, error / scale, trust * prefillShare),
    decodeW: updated(decodeW, error / scale, trust * decodeShare),
  };
}
