import { FleetError } from '@fleetgate/shared/errors';
import type { Sampling } from '@fleetgate/shared/protocol/job';

import type { AnswerText } from './answer-text.js';
import type { GenerateExtras, GenerateResult } from './engine.js';
import { nothingAnswered } from './model-host.js';
import type { TokenText } from './token-text.js';

/** What an engine needs to go on with an answer that another one began. */
export interface Continuation<Token> {
  /** Follow the prompt's. */
  readonly tokens: readonly Token[];
  /** Whether they are the very tokens that were chosen, and not the text's own. */
  readonly isExact: boolean;
  readonly characters: number;
}

/** Throws `request.invalid` for a token that the model does not have, and where the answer has to keep to a grammar. */
export function continuationOf<Token>(
  { resume: begun, grammar }: GenerateExtras,
  tokenOf: (id: number) => Token | undefined,
  tokenise: (text: string) => readonly Token[],
): Continuation<Token> {
  if (begun === undefined) return { tokens: [], isExact: true, characters: 0 };
  if (grammar !== undefined) {
    throw new FleetError(
      'request.invalid',
      'an answer within a grammar cannot be gone on with: its rules are not known',
    );
  }
  const { text, ids } = begun;
  if (ids === undefined) return { tokens: tokenise(text), isExact: false, characters: 0 };
  const tokens = ids.map((id) => {
    const token = tokenOf(id);
    if (token === undefined) throw new FleetError('request.invalid', `there is no token ${id}`);
    return token;
  });
  return { tokens, isExact: true, characters: text.length };
}

/** Whether tokens are drawn, and by a seed of the client's. */
export function isSeeded({ temperature, seed }: Pick<Sampling, 'temperature' | 'seed'>): boolean {
  return temperature > 0 && seed !== undefined;
}

/**
 * What is evaluated at once of a prompt and what follows it, from index `from` on. A batch rounds otherwise than single tokens
 * do: where the answer is to be the same, greedy or by a seed, its tokens are evaluated as they were when they were chosen.
 */
export function piecesToEvaluate<Token>(
  prompt: readonly Token[],
  { tokens, isExact }: Continuation<Token>,
  from: number,
  sampling: Pick<Sampling, 'temperature' | 'seed'>,
): readonly (readonly Token[])[] {
  if (!isExact || (sampling.temperature > 0 && !isSeeded(sampling))) return [[...prompt, ...tokens].slice(from)];
  const one = prompt.slice(from);
  const others = tokens.slice(Math.max(0, from - prompt.length)).map((token) => [token]);
  return one.length === 0 ? others : [one, ...others];
}

/**
 * Where a continuation begins in the text. The very tokens go the same way again as where they were chosen: what was held
 * back then (half a character, what may begin a stop string) is held back now.
 */
export function textAfter<Token>(
  prompt: readonly Token[],
  { tokens, isExact, characters }: Continuation<Token>,
  answer: AnswerText,
  textFrom: (before: readonly Token[]) => TokenText<Token>,
): TokenText<Token> {
  if (!isExact) return textFrom([...prompt, ...tokens]);
  const text = textFrom(prompt);
  answer.replay(
    tokens.map((token) => text.push(token)),
    characters,
  );
  return text;
}

/** The end of an answer that was at its end where it was begun; undefined where something is left to say. */
export function endedBefore<Token>(
  answer: AnswerText,
  text: TokenText<Token>,
  room: number,
  promptTokens: number,
): GenerateResult | undefined {
  if (!answer.stopped && room > 0) return undefined;
  answer.flush(text.flush());
  return { ...nothingAnswered(), finishReason: answer.stopped ? 'stop' : 'length', promptTokens };
}
