import { z } from 'zod';

import { mixtureBits } from '@fleetgate/shared/mixture/posterior-mixture';
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
  /**
   * Tokens of the reference answer with its end token, as far as the context holds them; of an expert that was asked for
   * its own answer, those of that one.
   */
  readonly out_tok: Readonly<Record<string, number>>;
  /** Mean natural log-probability of the expert's own greedy answer; where that was asked for. */
  readonly conf?: Readonly<Record<string, number>>;
}

/** Column of the experts that answer together. */
export const ENSEMBLE = 'ensemble';

export interface ScoredAnswer {
  readonly bits: number;
  readonly bytes: number;
  readonly promptTokens: number;
  readonly scoredTokens: number;
  /** In detail, for the ensemble. */
  readonly promptBits?: number;
  readonly tokenBits?: readonly number[];
  /** The expert's own answer. */
  readonly own?: { readonly tokens: number; readonly meanLogProb: number | undefined };
}

/**
 * The line of one prompt, or undefined when not every expert could score it. With an `ensemble` of experts, also what they
 * give the answer together (posterior mixture by prompt and token).
 */
export function toOutcome(
  id: string,
  pair: TextPair,
  scores: ReadonlyMap<string, ScoredAnswer>,
  experts: readonly string[],
  ensemble: readonly string[] = [],
): Outcome | undefined {
  const y: Record<string, number> = {};
  const bpb: Record<string, number> = {};
  const tokens: Record<string, number> = {};
  const conf: Record<string, number> = {};
  let promptTokens = 0;
  for (const expert of experts) {
    const score = scores.get(expert);
    if (score === undefined || score.bytes === 0) return undefined;
    const bitsPerByte = score.bits / score.bytes;
    y[expert] = rounded(2 ** -bitsPerByte);
    bpb[expert] = rounded(bitsPerByte);
    tokens[expert] = score.own?.tokens ?? score.scoredTokens;
    if (score.own?.meanLogProb !== undefined) conf[expert] = rounded(score.own.meanLogProb);
    promptTokens = Math.max(promptTokens, score.promptTokens);
  }
  if (ensemble.length > 0) {
    const together = ensembleScore(ensemble.flatMap((expert) => scores.get(expert) ?? []));
    if (together === undefined) return undefined;
    y[ENSEMBLE] = rounded(2 ** -together.bitsPerByte);
    bpb[ENSEMBLE] = rounded(together.bitsPerByte);
    tokens[ENSEMBLE] = together.tokens;
  }
  const line = { id, task: pair.domain, prompt: pair.prompt, prompt_tok: promptTokens, y, bpb, out_tok: tokens };
  return Object.keys(conf).length === 0 ? line : { ...line, conf };
}

/** Undefined when the members' contexts have cut the answer at different places. */
function ensembleScore(
  members: readonly ScoredAnswer[],
): { readonly bitsPerByte: number; readonly tokens: number } | undefined {
  const [first] = members;
  if (first === undefined || members.some(({ scoredTokens }) => scoredTokens !== first.scoredTokens)) return undefined;
  const { bits } = mixtureBits(members.map(({ promptBits = 0, tokenBits = [] }) => ({ promptBits, tokenBits })));
  return { bitsPerByte: bits / first.bytes, tokens: first.scoredTokens };
}

/** Four decimals: beyond that, processors differ. */
function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
