import type { NextTokens } from '@fleetgate/shared/mixture/next-token';
import type { Random } from '@fleetgate/shared/random';

export interface Draw {
  /** 0 takes the likeliest. */
  readonly temperature: number;
  /** Smallest nucleus of at least this probability (Holtzman et al. 2020). */
  readonly topP: number;
}

/** Tokens this far below the best have 1e-9 of its probability: looked at only when the nucleus needs them. */
const NEGLIGIBLE = 20;

/** Logits of one evaluation that are kept at once, bytes: a large vocabulary is scored in smaller pieces. */
const MOST_LOGITS_BYTES = 32 * 1024 * 1024;

/** Of how many tokens of one evaluation the logits are kept. */
export function mostOutputs(vocabulary: number): number {
  return Math.max(1, Math.floor(MOST_LOGITS_BYTES / (4 * Math.max(1, vocabulary))));
}

/** The token with the largest logit; of several, the first. */
export function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i;
  return best;
}

/** Natural logarithm of the sum of all exponentials: `logits[i] - logTotal` is token i's log-probability at temperature 1. */
export function logTotal(logits: Float32Array): number {
  const max = logits[likeliest(logits)] ?? 0;
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp((logits[i] ?? 0) - max);
  return max + Math.log(total);
}

/** Draws a token: softmax at the temperature, then the nucleus. O(vocabulary), and a sort of the likely ones below topP 1. */
export function drawFromLogits(logits: Float32Array, { temperature, topP }: Draw, random: Random): number {
  const best = likeliest(logits);
  if (temperature === 0) return best;
  const max = logits[best] ?? 0;
  const heat = (i: number): number => Math.exp(((logits[i] ?? 0) - max) / temperature);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += heat(i);
  if (topP >= 1) return drawn(logits.keys(), heat, random.uniform() * total, best);
  const floor = max - NEGLIGIBLE * temperature;
  const likely = nucleus(logits, heat, topP * total, (i) => (logits[i] ?? 0) >= floor);
  const { tokens, heats } = likely ?? nucleus(logits, heat, topP * total, () => true) ?? { tokens: [best], heats: 1 };
  return drawn(tokens, heat, random.uniform() * heats, best);
}

/** The likeliest tokens whose heats add up to `enough`, likeliest first; undefined when those looked at do not. */
function nucleus(
  logits: Float32Array,
  heat: (i: number) => number,
  enough: number,
  isLookedAt: (i: number) => boolean,
): { readonly tokens: readonly number[]; readonly heats: number } | undefined {
  const order: number[] = [];
  for (let i = 0; i < logits.length; i++) if (isLookedAt(i)) order.push(i);
  order.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
  let heats = 0;
  for (const [at, token] of order.entries()) {
    heats += heat(token);
    if (heats >= enough) return { tokens: order.slice(0, at + 1), heats };
  }
  return order.length === logits.length ? { tokens: order, heats } : undefined;
}

function drawn(tokens: Iterable<number>, heat: (i: number) => number, at: number, fallback: number): number {
  let left = at;
  for (const token of tokens) {
    left -= heat(token);
    if (left < 0) return token;
  }
  return fallback;
}

/** The `topK` likeliest tokens with their log-probabilities at temperature 1, likeliest first. */
export function topTokens(logits: Float32Array, topK: number): NextTokens {
  const total = logTotal(logits);
  const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b).slice(0, topK);
  const logProbs = order.map((token) => Math.min(0, (logits[token] ?? 0) - total));
  const known = logProbs.reduce((sum, logProb) => sum + Math.exp(logProb), 0);
  return { ids: order, logProbs, restProb: Math.max(0, 1 - known) };
}

/** -log2 of a token's probability at temperature 1. */
export function bitsOf(logits: Float32Array, token: number): number {
  return (logTotal(logits) - (logits[token] ?? 0)) / Math.LN2;
}
