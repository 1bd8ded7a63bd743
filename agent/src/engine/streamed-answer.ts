import { z } from 'zod';

import { FleetError } from '@fleetgate/shared/errors';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { AnswerText } from './answer-text.js';
import type { GenerateExtras, GenerateResult, OnText } from './engine.js';

const LONGEST_ERROR_TEXT = 500;

const errorSchema = z.object({ error: z.union([z.string(), z.object({ message: z.string() })]) });
const count = z.number().nonnegative();
const likelySchema = z.object({ token: z.string().default(''), logprob: z.number() });
/** Log-probabilities of the piece's tokens: `content` of chats, and of llama-server's completions; else lists side by side. */
const logprobsSchema = z.object({
  content: z.array(likelySchema.extend({ top_logprobs: z.array(likelySchema).nullish() })).nullish(),
  tokens: z.array(z.string()).nullish(),
  token_logprobs: z.array(z.number().nullable()).nullish(),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
});
const chunkSchema = z.object({
  choices: z
    .array(
      z.object({
        text: z.string().nullish(),
        delta: z.object({ content: z.string().nullish() }).nullish(),
        finish_reason: z.string().nullish(),
        logprobs: logprobsSchema.nullish(),
      }),
    )
    .default([]),
  usage: z.object({ prompt_tokens: count, completion_tokens: count }).nullish(),
  /** llama-server's own measurement. */
  timings: z.object({ prompt_n: count, prompt_ms: count, predicted_n: count, predicted_ms: count }).partial().nullish(),
});
type Chunk = z.infer<typeof chunkSchema>;

/** Collects an answer from the chunks of an OpenAI-compatible stream (chat or completion). */
export class StreamedAnswer {
  readonly #answer: AnswerText;
  readonly #startedAt = performance.now();
  #firstAt: number | undefined;
  #lastAt = this.#startedAt;
  #pieces = 0;
  readonly #choices: TokenChoice[] = [];
  readonly #extras: GenerateExtras;
  #finishReason: 'stop' | 'length' | undefined;
  #usage: Chunk['usage'];
  #timings: Chunk['timings'];

  constructor(stops: readonly string[], kind: 'chat' | 'complete', onText: OnText, extras: GenerateExtras = {}) {
    this.#extras = extras;
    this.#answer = new AnswerText(stops, kind, onText);
  }

  /** The server said why the answer ended. */
  get finished(): boolean {
    return this.#finishReason !== undefined;
  }

  /** Takes one `data:` value; true when no more are wanted. Throws `engine.crashed` for an error frame and for nonsense. */
  take(line: string): boolean {
    if (line.trim() === '[DONE]') return true;
    const value = parsedJson(line);
    if (errorSchema.safeParse(value).success) throw broken(`the server failed: ${saidIn(line)}`);
    const chunk = chunkSchema.safeParse(value);
    if (!chunk.success) throw broken(`the server sent what is no chunk: ${short(line)}`);
    this.#takeChunk(chunk.data);
    return this.#answer.stopped;
  }

  /** Counts and times: the server's own where it gives them. `cancelled`: the answer was given up. */
  result(cancelled: 'cancelled' | undefined): GenerateResult {
    const { choicesWithText, topLogProbs } = this.#extras;
    if (cancelled === undefined) this.#answer.flush();
    const firstAt = this.#firstAt ?? this.#lastAt;
    const sum = this.#choices.reduce((all, { logProb }) => all + logProb, 0);
    const tokens = this.#choices.length;
    return {
      finishReason: cancelled ?? (this.#answer.stopped ? 'stop' : (this.#finishReason ?? 'stop')),
      promptTokens: this.#usage?.prompt_tokens ?? this.#timings?.prompt_n ?? 0,
      outputTokens: this.#usage?.completion_tokens ?? this.#timings?.predicted_n ?? this.#pieces,
      prefill: milliseconds(this.#timings?.prompt_ms ?? firstAt - this.#startedAt),
      decode: milliseconds(this.#timings?.predicted_ms ?? this.#lastAt - firstAt),
      ...(tokens === 0 ? {} : { meanLogProb: Math.min(0, sum / tokens) }),
      ...(topLogProbs === undefined || tokens === 0
        ? {}
        : { choices: choicesWithText === true ? this.#answer.untold : this.#choices }),
    };
  }

  #takeChunk(chunk: Chunk): void {
    this.#usage = chunk.usage ?? this.#usage;
    this.#timings = chunk.timings ?? this.#timings;
    const choice = chunk.choices[0];
    const choices = choicesOf(choice?.logprobs ?? {});
    this.#choices.push(...choices);
    const { choicesWithText, topLogProbs } = this.#extras;
    const told = topLogProbs !== undefined && choicesWithText === true ? choices : [];
    const text = choice?.delta?.content ?? choice?.text ?? '';
    if (text !== '') {
      this.#lastAt = performance.now();
      this.#firstAt ??= this.#lastAt;
      // Servers send a piece per token, except where characters are split over tokens.
      this.#pieces++;
    }
    if (text !== '' || told.length > 0) this.#answer.push(text, undefined, told);
    const reason = choice?.finish_reason;
    if (reason !== undefined && reason !== null) this.#finishReason = reason === 'length' ? 'length' : 'stop';
  }
}

function choicesOf({ content, tokens, token_logprobs, top_logprobs }: z.infer<typeof logprobsSchema>): TokenChoice[] {
  if (content !== undefined && content !== null) {
    return content.map(({ token, logprob, top_logprobs: top }) => ({
      text: token,
      logProb: logprob,
      top: (top ?? []).map((one) => ({ text: one.token, logProb: one.logprob })),
    }));
  }
  return (token_logprobs ?? []).flatMap((logProb, i) => {
    const top = Object.entries(top_logprobs?.[i] ?? {}).map(([text, value]) => ({ text, logProb: value }));
    const ranked = top.toSorted((a, b) => b.logProb - a.logProb);
    return logProb === null ? [] : [{ text: tokens?.[i] ?? '', logProb, top: ranked }];
  });
}

/** A fault of one answer, not of the server as a whole. */
export function broken(what: string): FleetError {
  return new FleetError('engine.crashed', what, { retryable: true, hint: "see the server's log" });
}

/** The message in an error body, or the body itself, cut to a readable length. */
export function saidIn(body: string): string {
  const parsed = errorSchema.safeParse(parsedJson(body));
  if (!parsed.success) return short(body);
  const { error } = parsed.data;
  return short(typeof error === 'string' ? error : error.message);
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function short(text: string): string {
  return text.length > LONGEST_ERROR_TEXT ? `${text.slice(0, LONGEST_ERROR_TEXT)}…` : text;
}
