import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import { MOST_DETAILED_TOKENS } from '@fleetgate/shared/protocol/job';

import type { LlamaPrompts } from './llama-prompts.js';
import { documentBits, sum } from './llama-token-bits.js';

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
 * How sure the model was of the answer it has just given in `sequence`, by evaluating it once more as a whole: the
 * runtime's own figure is of the distribution that was drawn from, and costs as much. Undefined without an answer, or when
 * aborted.
 */
export async function meanLogProb(
  sequence: LlamaContextSequence,
  { prompt, output }: { readonly prompt: readonly Token[]; readonly output: readonly Token[] },
  onProgress: () => void,
  signal: AbortSignal,
): Promise<number | undefined> {
  const first = prompt.length - 1;
  await sequence.eraseContextTokenRanges([{ start: first, end: sequence.nextTokenIndex }]);
  const document = [...prompt, ...output];
  const bits = await documentBits(sequence, document, { from: first, first }, onProgress, signal);
  return bits === undefined || bits.length === 0 ? undefined : Math.min(0, (-sum(bits) * Math.LN2) / bits.length);
}
