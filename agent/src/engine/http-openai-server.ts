import { z } from 'zod';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { EngineState } from './engine.js';
import type { EngineStatus } from './engine-status.js';
import { SseLines } from './sse-lines.js';
import { type StreamedAnswer, broken, saidIn } from './streamed-answer.js';
import { SilenceDeadline, pause } from './waiting.js';

export interface HttpOpenAiServerOptions {
  /** Where `/v1/models` is found, for example `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** For answers that are no stream. */
const ANSWER_DEADLINE_MS = 15_000;
/** Between two pieces of a stream; the first also waits for the prompt. */
const SILENCE_DEADLINE = milliseconds(120_000);
/** A server that answers 503 is loading its model: asked again this often, for this long. */
const LOADING_RETRY = milliseconds(500);
const LOADING_DEADLINE = milliseconds(120_000);
/** A server that is down is asked again this often. */
const DOWN_RETRY = milliseconds(5_000);
const LONGEST_LINE = 1024 * 1024;

const embeddingsSchema = z.object({
  data: z.array(z.object({ index: z.number().int(), embedding: z.array(z.number()).min(1) })),
  usage: z.object({ prompt_tokens: z.number().int().nonnegative() }).optional(),
});
const modelsSchema = z.object({ data: z.array(z.object({ id: z.string() })) });

/**
 * A server that speaks the OpenAI protocol, as its client sees it.
 *
 * Notes in `status` whether it can be reached; one that cannot is asked again until it answers. Failures are
 * FleetErrors: `engine.unavailable`, `engine.crashed` (a broken stream), `engine.timeout`, `request.invalid`.
 */
export class HttpOpenAiServer {
  readonly #options: HttpOpenAiServerOptions;
  readonly #status: EngineStatus;
  #cancelRetry: () => void = () => {};
  #closed = false;

  constructor(options: HttpOpenAiServerOptions, status: EngineStatus) {
    this.#options = options;
    this.#status = status;
  }

  /** Names of the models that it lists. */
  async models(signal: AbortSignal): Promise<readonly string[]> {
    const deadline = AbortSignal.timeout(ANSWER_DEADLINE_MS);
    try {
      const response = await this.#fetch('/v1/models', AbortSignal.any([signal, deadline]));
      const listed = modelsSchema.safeParse(await response.json());
      if (!listed.success) throw new Error('its model list is not of the OpenAI form');
      return listed.data.data.map(({ id }) => id);
    } catch (error) {
      if (signal.aborted) throw new FleetError('job.cancelled', 'the call was cancelled');
      if (error instanceof FleetError) throw error;
      throw this.#lost(deadline.aborted ? `no answer within ${ANSWER_DEADLINE_MS} ms` : causeOf(error));
    }
  }

  /** Names of its models; waits while the server still loads one. */
  async modelsOnceLoaded(signal: AbortSignal): Promise<readonly string[]> {
    const { clock } = this.#options;
    const giveUpAt = clock.now() + LOADING_DEADLINE;
    for (;;) {
      try {
        return await this.models(signal);
      } catch (error) {
        const loading = isFleetError(error) && error.context['status'] === 503;
        if (!loading || clock.now() >= giveUpAt) throw error;
        await pause(clock, LOADING_RETRY, signal);
      }
    }
  }

  /** Vectors of texts, in their order, as the server has them. */
  async embeddings(
    model: string,
    input: readonly string[],
    signal: AbortSignal,
  ): Promise<{ readonly vectors: readonly (readonly number[])[]; readonly promptTokens: number }> {
    const deadline = AbortSignal.timeout(SILENCE_DEADLINE);
    try {
      const body = JSON.stringify({ model, input, encoding_format: 'float' });
      const response = await this.#fetch('/v1/embeddings', AbortSignal.any([signal, deadline]), body);
      const told = embeddingsSchema.safeParse(await response.json());
      if (!told.success || told.data.data.length !== input.length) {
        throw broken(`its embeddings are not of the OpenAI form, one for each of ${input.length} texts`);
      }
      const { data, usage } = told.data;
      return {
        vectors: data.toSorted((a, b) => a.index - b.index).map(({ embedding }) => embedding),
        promptTokens: usage?.prompt_tokens ?? 0,
      };
    } catch (error) {
      if (signal.aborted) throw new FleetError('job.cancelled', 'the call was cancelled');
      if (error instanceof FleetError) throw error;
      if (deadline.aborted) {
        throw new FleetError('engine.timeout', `no answer within ${SILENCE_DEADLINE} ms`, { retryable: true });
      }
      throw broken(`the answer broke: ${causeOf(error)}`);
    }
  }

  /** Asks for an answer and gives its lines to `answer` until that is complete. */
  async stream(path: string, body: unknown, signal: AbortSignal, answer: StreamedAnswer): Promise<void> {
    const silence = new SilenceDeadline(this.#options.clock, SILENCE_DEADLINE);
    try {
      const response = await this.#fetch(path, AbortSignal.any([signal, silence.signal]), JSON.stringify(body));
      const lines = new SseLines(LONGEST_LINE);
      for await (const piece of response.body ?? []) {
        silence.restart();
        for (const line of lines.push(piece)) if (answer.take(line)) return;
      }
      for (const line of lines.flush()) if (answer.take(line)) return;
      if (!answer.finished) throw broken('the server closed the stream before the answer was complete');
    } catch (error) {
      if (error instanceof FleetError) throw error;
      if (silence.signal.aborted) {
        throw new FleetError('engine.timeout', `the server sent nothing for ${SILENCE_DEADLINE} ms`, {
          retryable: true,
        });
      }
      throw broken(`the stream broke: ${causeOf(error)}`);
    } finally {
      silence.end();
    }
  }

  /** Asks no more. */
  close(): void {
    this.#closed = true;
    this.#cancelRetry();
  }

  /** A successful response, or a FleetError that says what the server said. */
  async #fetch(path: string, signal: AbortSignal, body?: string): Promise<Response> {
    const { baseUrl, apiKey } = this.#options;
    let response: Response;
    try {
      response = await fetch(new URL(path, baseUrl), {
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        ...(body === undefined ? {} : { body }),
        signal,
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw this.#lost(`cannot be reached: ${causeOf(error)}`);
    }
    if (response.ok) {
      this.#note({ state: 'ready' });
      return response;
    }
    const said = saidIn(await response.text().catch(() => ''));
    throw statusError(response.status, `${baseUrl}${path} answered ${response.status}: ${said}`);
  }

  /** The server is not there: down until it answers again. */
  #lost(what: string): FleetError {
    const reason = `the server at ${this.#options.baseUrl}: ${what}`;
    this.#note({ state: 'down', reason });
    this.#cancelRetry();
    if (!this.#closed) {
      // A failure comes back here and sets the next try.
      this.#cancelRetry = this.#options.clock.after(DOWN_RETRY, () => {
        this.models(new AbortController().signal).catch(() => {});
      });
    }
    return new FleetError('engine.unavailable', reason, { retryable: true, hint: 'is the server running?' });
  }

  #note(state: EngineState): void {
    if (this.#status.set(state)) this.#options.log.info('engine.state', { ...state });
  }
}

function statusError(status: number, message: string): FleetError {
  if (status === 400 || status === 413 || status === 422) return new FleetError('request.invalid', message);
  return new FleetError('engine.unavailable', message, {
    retryable: status === 429 || status >= 500,
    context: { status },
    hint: status === 401 || status === 403 ? "set the server's API key" : "see the server's log",
  });
}

/** `fetch failed` says nothing: its cause does. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? `: ${messageOf(error.cause)}` : '';
  return messageOf(error) + cause;
}
