import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import { MOST_DETAILED_TOKENS } from '@fleetgate/shared/protocol/job';

import type { LlamaPrompts } from './llama-prompts.js';
import type { GenerateExtras, GenerateResult } from './engine.js';
import { documentTokens, sum } from './llama-token-bits.js';

export interface ScoredDocument {
  /** The chat prompt, the completion and its closing end token, cut to the context. */
  readonly tokens: readonly Token[];
  readonly promptTokens: number;
  /** UTF-8 bytes of the completion, of the part that is left of it. */
  readonly bytes: number;
}

/** Tokens of a completion after its chat prompt, as they are scored. */
export function scoredDocument(
  model: LlamaModel,
  prompts: LlamaPrompts,
  contextTokens: number,
  { prompt, completion }: { readonly prompt: string; readonly completion: string },
): ScoredDocument {
  const messages = [{ role: 'user' as const, content: prompt }];
  const { tokens: before, endsWithSpace } = prompts.tokensOf({ kind: 'chat', messages });
  const text = `${endsWithSpace ? '' : ' '}${completion}`;
  const answer = model.tokenize(text);
  const { eot, eos } = model.tokens;
  const end = eot ?? eos;
  const tokens = [...before, ...answer, ...(end === null ? [] : [end])].slice(0, contextTokens);
  const isWhole = tokens.length >= before.length + answer.length;
  const left = isWhole ? text : model.detokenize(tokens.slice(before.length)).replace(/\uFFFD$/, '');
  return { tokens, promptTokens: before.length, bytes: Buffer.byteLength(left) };
}

/** Refuses to tell the bits of more tokens than one message holds. */
export function checkDetail(scoredTokens: number): void {
  if (scoredTokens <= MOST_DETAILED_TOKENS) return;
  throw new FleetError(
    'request.invalid',
    `a completion of ${scoredTokens} tokens has no room in one message, expected at most ${MOST_DETAILED_TOKENS}`,
    { hint: 'shorten it, or score it without detail' },
  );
}

/**
 * What the model held of the tokens of the answer that it has just given in `sequence`, by evaluating it once more as a
 * whole: the runtime's own figures are of the distribution that was drawn from, and cost as much. Nothing without an answer,
 * or when aborted.
 */
export async function toldOfAnswer(
  sequence: LlamaContextSequence,
  { prompt, output }: { readonly prompt: readonly Token[]; readonly output: readonly Token[] },
  { confidence, topLogProbs }: GenerateExtras,
  textOf: (token: Token) => string,
  onProgress: () => void,
  signal: AbortSignal,
): Promise<Pick<GenerateResult, 'meanLogProb' | 'choices'>> {
  if (confidence !== true && topLogProbs === undefined) return {};
  const first = prompt.length - 1;
  await sequence.eraseContextTokenRanges([{ start: first, end: sequence.nextTokenIndex }]);
  const document = [...prompt, ...output];
  const span = { from: first, first, top: topLogProbs ?? 1 };
  const tokens = await documentTokens(sequence, document, span, onProgress, signal);
  if (tokens === undefined) return {};
  const mean = Math.min(0, sum(tokens.map(({ logProb }) => logProb)) / tokens.length);
  const choices = tokens.map(({ logProb, top }, i) => ({
    text: textOf(document[prompt.length + i] ?? (0 as Token)),
    logProb: Math.min(0, logProb),
    top: top.map((one) => ({ text: textOf(one.token), logProb: one.logProb })),
  }));
  return {
    ...(confidence !== true || tokens.length === 0 ? {} : { meanLogProb: mean }),
    ...(topLogProbs === undefined ? {} : { choices }),
  };
}
