import { FleetError } from '@fleetgate/shared/errors';
import type { NextTokens } from '@fleetgate/shared/mixture/next-token';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import type { GenerateResult, MixResult, MixStep } from './engine.js';
import type { TokenText } from './token-text.js';

export interface Mixing<Token> {
  /** Evaluates a token; the `topK` likeliest ones after it. Undefined when the answer was aborted. */
  readonly nextOf: (token: Token) => Promise<NextTokens | undefined>;
  readonly endsAnswer: (token: Token) => boolean;
  /** All of it but the last token is evaluated; `bits` of it and when that began. */
  readonly prompt: { readonly tokens: readonly Token[]; readonly bits: number; readonly startedAt: number };
  /** Tokens that the answer may have. */
  readonly room: number;
  readonly answer: MixText<Token>;
  readonly tokenOf: (id: number) => Token | undefined;
  readonly onProgress: () => void;
  /** Resolves with undefined when the answer was aborted. */
  readonly choose: (step: MixStep) => Promise<number | undefined>;
}

/** Text of the chosen tokens, collected until a step takes it along. */
export class MixText<T> {
  readonly #answer: AnswerText;
  readonly #text: TokenText<T>;
  #unsent = '';

  constructor(stops: readonly string[], kind: 'chat' | 'complete', text: TokenText<T>) {
    this.#answer = new AnswerText(stops, kind, (piece) => (this.#unsent += piece));
    this.#text = text;
  }

  get stopped(): boolean {
    return this.#answer.stopped;
  }

  push(token: T): void {
    this.#answer.push(this.#text.push(token));
  }

  /** What has come since it was last taken. */
  take(): string {
    const piece = this.#unsent;
    this.#unsent = '';
    return piece;
  }

  /** The same at the end of the answer. */
  takeRest(): string {
    this.#answer.flush(this.#text.flush());
    return this.take();
  }
}

/** Answers after an evaluated prompt with the tokens that `choose` picks. */
export async function mixAnswer<Token>(mix: Mixing<Token>): Promise<MixResult> {
  const { prompt, answer } = mix;
  let token = prompt.tokens.at(-1);
  if (token === undefined) throw new FleetError('internal.invariant', 'a prompt without tokens');
  let outputTokens = 0;
  let prefillMs = 0;
  let decodeMs = 0;
  const ended = (finishReason: GenerateResult['finishReason']): MixResult => ({
    finishReason,
    promptTokens: prompt.tokens.length,
    outputTokens,
    prefill: milliseconds(prefillMs),
    decode: milliseconds(decodeMs),
    text: finishReason === 'cancelled' ? '' : answer.takeRest(),
  });
  for (let step = 0; ; step++) {
    const begunAt = performance.now();
    const next = await mix.nextOf(token);
    if (next === undefined) return ended('cancelled');
    const endedAt = performance.now();
    if (step === 0) prefillMs = endedAt - prompt.startedAt;
    else decodeMs += endedAt - begunAt;
    mix.onProgress();
    const evidence = step === 0 ? { promptBits: prompt.bits } : {};
    const chosen = await mix.choose({ step, next, text: answer.take(), ...evidence });
    if (chosen === undefined) return ended('cancelled');
    token = checked(mix.tokenOf(chosen), chosen);
    if (mix.endsAnswer(token)) return ended('stop');
    outputTokens++;
    answer.push(token);
    if (answer.stopped) return ended('stop');
    if (outputTokens >= mix.room) return ended('length');
  }
}

function checked<Token>(token: Token | undefined, id: number): Token {
  if (token !== undefined) return token;
  throw new FleetError('request.invalid', `token ${id} was chosen, which the model does not have`, {
    hint: 'only models with the same tokenizer can answer together',
  });
}
