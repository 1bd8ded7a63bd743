import type { Random } from '@fleetgate/shared/random';

import type { Draw } from './logits.js';

/** The likeliest tokens of one evaluation, likeliest first, and what is known of the others. */
export interface LikelyTokens<Token> {
  readonly tokens: readonly { readonly token: Token; readonly logit: number }[];
  /** Sum over the whole vocabulary of exp(logit - the largest logit). */
  readonly total: number;
  /** Tokens that are not among `tokens`. */
  readonly others: number;
}

/**
 * Draws a token from the whole vocabulary by its likeliest tokens: nucleus of at least `topP` by the model's own
 * distribution (Holtzman et al. 2020), then the temperature, as llama.cpp does. Exact: where the likeliest do not decide, `all`
 * is asked for every token. Others weigh at most what their mass at temperature 1 and the least of the likeliest allow; a
 * draw that falls there is looked up among all, and made again where the others weigh less than that.
 */
export async function drawFromLikely<Token>(
  likely: LikelyTokens<Token>,
  draw: Draw,
  random: Random,
  all: () => Promise<LikelyTokens<Token>>,
): Promise<Token | undefined> {
  const [first] = likely.tokens;
  if (draw.temperature === 0 || first === undefined) return first?.token;
  if (draw.topP < 1) {
    const nucleus = nucleusOf(likely, draw.topP) ?? nucleusOf(await all(), draw.topP);
    const heats = heatsOf(nucleus ?? likely.tokens, draw.temperature);
    return tokenAt(nucleus ?? likely.tokens, heats, random.uniform() * sum(heats)) ?? first.token;
  }
  const heats = heatsOf(likely.tokens, draw.temperature);
  const at = random.uniform() * (sum(heats) + mostHeatOfOthers(likely, draw.temperature));
  const found = tokenAt(likely.tokens, heats, at);
  if (found !== undefined || likely.others === 0) return found ?? first.token;
  const { tokens } = await all();
  const allHeats = heatsOf(tokens, draw.temperature);
  return tokenAt(tokens, allHeats, at) ?? tokenAt(tokens, allHeats, random.uniform() * sum(allHeats)) ?? first.token;
}

/** Undefined when those that are known do not reach `topP`. */
function nucleusOf<Token>({ tokens, total, others }: LikelyTokens<Token>, topP: number) {
  const heats = heatsOf(tokens, 1);
  let reached = 0;
  const end = heats.findIndex((heat) => (reached += heat) >= topP * total);
  if (end >= 0) return tokens.slice(0, end + 1);
  return others === 0 ? tokens : undefined;
}

function heatsOf(tokens: readonly { readonly logit: number }[], temperature: number): readonly number[] {
  const largest = tokens[0]?.logit ?? 0;
  return tokens.map(({ logit }) => Math.exp((logit - largest) / temperature));
}

/** An upper bound: each of the others has at most the least of the likeliest's heat, and their mass is known. */
function mostHeatOfOthers<Token>({ tokens, total, others }: LikelyTokens<Token>, temperature: number): number {
  if (others === 0) return 0;
  const least = (tokens.at(-1)?.logit ?? 0) - (tokens[0]?.logit ?? 0);
  if (temperature > 1) return others * Math.exp(least / temperature);
  const mass = Math.max(0, total - sum(heatsOf(tokens, 1)));
  return mass * Math.exp(least * (1 / temperature - 1));
}

function tokenAt<Token>(
  tokens: readonly { readonly token: Token }[],
  heats: readonly number[],
  at: number,
): Token | undefined {
  let left = at;
  const index = heats.findIndex((heat) => (left -= heat) < 0);
  return tokens[index]?.token;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
