import { z } from 'zod';

import type { Random } from '@fleetgate/shared/random';

/** A question with its reference answer, one line of `<domain>.train.jsonl.gz`. */
export const textPairSchema = z.object({
  prompt: z.string().min(1),
  completion: z.string().min(1),
  domain: z.string().min(1),
});
export type TextPair = z.infer<typeof textPairSchema>;

/**
 * `count` positions spread evenly over 0..length-1, in order and each once: one drawn from each of `count` equal parts.
 * All of them when there are no more than `count`.
 */
export function spreadPositions(length: number, count: number, random: Random): readonly number[] {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: count }, (_, part) => {
    const from = Math.floor((part * length) / count);
    const until = Math.floor(((part + 1) * length) / count);
    return from + Math.floor(random.uniform() * (until - from));
  });
}

/** One line of an outcome file: how well every expert predicts one reference answer. */
export interface Outcome {
  /** `<domain>-<line in the domain's file, from 0>`. */
  readonly id: string;
  readonly task: string;
  readonly prompt: string;
  /** Tokens of the chat prompt. */
  readonly prompt_tok: number;
  /** Quality, 0..1: 2^-(bits per byte). */
  readonly y: Readonly<Record<string, number>>;
  readonly bpb: Readonly<Record<string, number>>;
  /** Tokens of the reference answer with its end token, as far as the context holds them. */
  readonly out_tok: Readonly<Record<string, number>>;
}

export interface ScoredAnswer {
  readonly bits: number;
  readonly bytes: number;
  readonly promptTokens: number;
  readonly scoredTokens: number;
}

/** The line of one prompt, or undefined when not every expert could score it. */
export function toOutcome(
  id: string,
  pair: TextPair,
  scores: ReadonlyMap<string, ScoredAnswer>,
  experts: readonly string[],
): Outcome | undefined {
  const y: Record<string, number> = {};
  const bpb: Record<string, number> = {};
  const tokens: Record<string, number> = {};
  let promptTokens = 0;
  for (const expert of experts) {
    const score = scores.get(expert);
    if (score === undefined || score.bytes === 0) return undefined;
    const bitsPerByte = score.bits / score.bytes;
    y[expert] = rounded(2 ** -bitsPerByte);
    bpb[expert] = rounded(bitsPerByte);
    tokens[expert] = score.scoredTokens;
    promptTokens = Math.max(promptTokens, score.promptTokens);
  }
  return { id, task: pair.domain, prompt: pair.prompt, prompt_tok: promptTokens, y, bpb, out_tok: tokens };
}

/** Four decimals: beyond that, processors differ. */
function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
