import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import { drawFromLikely, type LikelyTokens } from './draw-from-likely.js';

const VOCABULARY = 60;
/** A few likely tokens and a long tail that has a fifth of the mass. */
const LOGITS = Array.from({ length: VOCABULARY }, (_, token) => ({ token, logit: token < 6 ? 5 - token / 4 : 1 }));
const whole: LikelyTokens<number> = {
  tokens: LOGITS,
  total: LOGITS.reduce((sum, { logit }) => sum + Math.exp(logit - 5), 0),
  others: 0,
};
const DRAWS = 40_000;

/** Probability of each token: nucleus at temperature 1, then the temperature. */
function expected(temperature: number, topP: number): readonly number[] {
  let reached = 0;
  const heats = LOGITS.map(({ logit }) => {
    const isIn = topP >= 1 || reached < topP * whole.total;
    reached += Math.exp(logit - 5);
    return isIn ? Math.exp((logit - 5) / temperature) : 0;
  });
  const total = heats.reduce((sum, heat) => sum + heat, 0);
  return heats.map((heat) => heat / total);
}

describe('a draw from the likeliest tokens', () => {
  it.each(
    [3, 8, VOCABULARY].flatMap((known) =>
      [0.6, 1, 1.7].flatMap((temperature) => [1, 0.9, 0.3].map((topP) => [known, temperature, topP] as const)),
    ),
  )('comes from the whole vocabulary: %i known, temperature %f, nucleus %f', async (known, temperature, topP) => {
    const likely = { ...whole, tokens: LOGITS.slice(0, known), others: VOCABULARY - known };
    const counts = LOGITS.map(() => 0);
    const random = new SeededRandom(7);
    for (let at = 0; at < DRAWS; at++) {
      const token = await drawFromLikely(likely, { temperature, topP }, random, async () => whole);
      counts[token ?? -1] = (counts[token ?? -1] ?? 0) + 1;
    }
    for (const [token, p] of expected(temperature, topP).entries()) {
      const sd = Math.sqrt(DRAWS * p * (1 - p));
      expect(Math.abs((counts[token] ?? 0) - DRAWS * p), `token ${token}`).toBeLessThanOrEqual(5 * sd);
    }
  });

  it('asks for all tokens only where those that are known do not decide', async () => {
    let asked = 0;
    const all = async () => (asked++, whole);
    const likely = { ...whole, tokens: LOGITS.slice(0, 8), others: VOCABULARY - 8 };
    const random = new SeededRandom(3);
    expect(await drawFromLikely(likely, { temperature: 0, topP: 1 }, random, all)).toBe(0);
    for (let at = 0; at < 1000; at++) await drawFromLikely(likely, { temperature: 1.2, topP: 0.5 }, random, all);
    expect(asked).toBe(0);
    for (let at = 0; at < 1000; at++) await drawFromLikely(likely, { temperature: 0.5, topP: 1 }, random, all);
    expect(asked).toBeLessThan(100);
  });
});
