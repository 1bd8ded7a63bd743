import type { Prompts } from './prompt-tokens.js';
import type { SlabVocabulary } from './slab-vocabulary.js';

export interface SlabDocument {
  /** The chat prompt, the completion and its closing end token, cut to the context. */
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  /** UTF-8 bytes of the completion, of the part that is left of it. */
  readonly bytes: number;
}

/** Tokens of a completion after its chat prompt, as they are scored. */
export function slabDocument(
  vocabulary: SlabVocabulary,
  prompts: Prompts<number>,
  contextTokens: number,
  { prompt, completion }: { readonly prompt: string; readonly completion: string },
): SlabDocument {
  const messages = [{ role: 'user' as const, content: prompt }];
  const { tokens: before, endsWithSpace } = prompts.tokensOf({ kind: 'chat', messages });
  const text = `${endsWithSpace ? '' : ' '}${completion}`;
  const answer = vocabulary.tokenise(text, 'plain');
  const end = vocabulary.endToken;
  const tokens = [...before, ...answer, ...(end === undefined ? [] : [end])].slice(0, contextTokens);
  const isWhole = tokens.length >= before.length + answer.length;
  const left = isWhole ? text : vocabulary.detokenise(tokens.slice(before.length)).replace(/\uFFFD$/, '');
  return { tokens, promptTokens: before.length, bytes: Buffer.byteLength(left) };
}
