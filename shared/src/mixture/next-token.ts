import type { Random } from '../random.js';

/** The likeliest next tokens of one expert, likeliest first, at temperature 1. */
export interface NextTokens {
  readonly ids: readonly number[];
  /** Natural logarithms of their probabilities, falling. */
  readonly logProbs: readonly number[];
  /** Probability of all tokens that are not listed. */
  readonly restProb: number;
}

/**
 * Probability of a token that an expert did not list is not known, only that it is at most the smallest listed one and
 * that all such tokens together have `restProb`: taken as the smaller of the two, the latter over as many as are listed.
 */
export function probabilityOf(token: number, { ids, logProbs, restProb }: NextTokens): number {
  const at = ids.indexOf(token);
  if (at >= 0) return Math.exp(logProbs[at] ?? -Infinity);
  return unlisted({ ids, logProbs, restProb });
}

function unlisted({ ids, logProbs, restProb }: NextTokens): number {
  return Math.min(Math.exp(logProbs.at(-1) ?? 0), restProb / Math.max(1, ids.length));
}

/** The mixture's probability of every token that some member lists, likeliest first; ties by token id. */
export function mixNextTokens(
  members: readonly NextTokens[],
  weights: ArrayLike<number>,
): readonly (readonly [token: number, probability: number])[] {
  const floors = members.map(unlisted);
  const base = floors.reduce((sum, floor, member) => sum + (weights[member] ?? 0) * floor, 0);
  const mixed = new Map<number, number>();
  members.forEach(({ ids, logProbs }, member) => {
    const [weight, floor] = [weights[member] ?? 0, floors[member] ?? 0];
    if (weight === 0) return;
    ids.forEach((token, at) => {
      const gain = weight * (Math.exp(logProbs[at] ?? -Infinity) - floor);
      mixed.set(token, (mixed.get(token) ?? base) + gain);
    });
  });
  return [...mixed].sort(([a, p], [b, q]) => q - p || a - b);
}

/**
 * Draws from tokens that come likeliest first: probabilities to the power 1 / temperature, then the smallest nucleus of
 * at least `topP` (Holtzman et al. 2020). Temperature 0 takes the first. Throws RangeError where there is no token.
 */
export function drawToken(
  tokens: readonly (readonly [token: number, probability: number])[],
  { temperature, topP }: { readonly temperature: number; readonly topP: number },
  random: Random,
): number {
  const [first] = tokens;
  if (first === undefined) throw new RangeError('no token to draw from');
  const [likeliest, highest] = first;
  if (temperature === 0 || !(highest > 0)) return likeliest;
  const heats = tokens.map(([, probability]) => (probability / highest) ** (1 / temperature));
  const total = heats.reduce((sum, heat) => sum + heat, 0);
  let nucleus = 0;
  let size = 0;
  while (size < heats.length && nucleus < topP * total) nucleus += heats[size++] ?? 0;
  let left = random.uniform() * nucleus;
  for (let at = 0; at < size; at++) {
    left -= heats[at] ?? 0;
    if (left < 0) return tokens[at]?.[0] ?? likeliest;
  }
  return tokens[Math.max(0, size - 1)]?.[0] ?? likeliest;
}
