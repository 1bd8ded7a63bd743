import { SeededRandom } from '@fleetgate/shared/random';

import { SYNTH_VOCABULARY } from './synth-vocabulary.js';

export const SYNTH_TOPICS = 12;
/** Tokens below have no topic: control tokens, bytes, letters. */
const FIRST_TOPIC_TOKEN = 300;
const TOPICLESS_SHARE = 4;

/** Topic of a token, 0 to 11; -1 for one that belongs to none. */
export function topicOf(token: number): number {
  if (token < FIRST_TOPIC_TOKEN) return -1;
  return Math.max(-1, (((token * 2_654_435_761) >>> 8) % (SYNTH_TOPICS + TOPICLESS_SHARE)) - TOPICLESS_SHARE);
}

/** An endless text of tokens: it stays with a topic for some fifty tokens, a third of its tokens have none. */
export function* topicTokens(seed: number): Generator<number, never> {
  const random = new SeededRandom(seed);
  const byTopic = Array.from({ length: SYNTH_TOPICS + 1 }, (): number[] => []);
  for (let token = FIRST_TOPIC_TOKEN; token < SYNTH_VOCABULARY; token++) {
    const topic = topicOf(token);
    byTopic[topic < 0 ? SYNTH_TOPICS : topic]?.push(token);
  }
  const pick = (tokens: readonly number[]): number =>
    // Zipf: the n-th token comes 1/n times as often as the first.
    tokens[Math.min(tokens.length - 1, Math.floor(tokens.length ** random.uniform() - 1))] ?? FIRST_TOPIC_TOKEN;
  let topic = seed % SYNTH_TOPICS;
  for (;;) {
    if (random.uniform() < 0.02) topic = Math.floor(random.uniform() * SYNTH_TOPICS);
    yield random.uniform() < 0.35 ? pick(byTopic[SYNTH_TOPICS] ?? []) : pick(byTopic[topic] ?? []);
  }
}

/** The first tokens of such a text. */
export function topicText(seed: number, tokens: number): readonly number[] {
  const text = topicTokens(seed);
  return Array.from({ length: tokens }, () => text.next().value);
}
