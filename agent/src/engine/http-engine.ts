import { z } from 'zod';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { bytes, milliseconds } from '@fleetgate/shared/units/quantity';

import type {
  Engine,
  EngineModel,
  EngineState,
  GenerateInput,
  GenerateResult,
  LoadedModel,
  ScoreResult,
} from './engine.js';
import { SilenceDeadline, pause } from './waiting.js';
import { SseLines } from './sse-lines.js';
import { StreamedAnswer, broken, saidIn } from './streamed-answer.js';

export interface HttpEngineOptions {
  /** Where `/v1/models` is found, for example `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  /** Name of a variant's model at that server. */
  readonly modelOf: (variantId: VariantId) => string;
  readonly apiKey?: string;
  readonly log: Logger;
  readonly clock?: Clock;
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

const modelsSchema = z.object({ data: z.array(z.object({ id: z.string() })) });
/**
 * Uses a server on the device that speaks the OpenAI protocol (llama-server, Ollama, vLLM).
 *
 * The server manages memory itself: `load` only checks that the model is there and reports 0 bytes. Stop strings are
 * also applied here, because servers differ in how well they keep them. Cannot score.
 */
export function createHttpEngine(options: HttpEngineOptions): Engine {
  return new HttpEngine(options);
}

class HttpEngine implements Engine {
  readonly kind = 'http';
  readonly #options: HttpEngineOptions;
  readonly #resident = new Map<VariantId, { model: EngineModel; jobs: Set<AbortController> }>();
  readonly #listeners = new Set<(state: EngineState) => void>();
  #state: EngineState = { state: 'ready' };
  #closed = false;
  readonly #clock: Clock;
  #cancelRetry: () => void = () => {};

  constructor(options: HttpEngineOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  async version(): Promise<string> {
    await this.#models(new AbortController().signal);
    return `OpenAI-compatible server at ${this.#options.baseUrl}`;
  }

  state(): EngineState {
    return this.#state;
  }

  onState(listener: (state: EngineState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const startedAt = performance.now();
    const name = this.#options.modelOf(model.variantId);
    const listed = await this.#modelsOnceLoaded(signal);
    // Ollama lists `name:latest` for `name`.
    if (!listed.some((id) => id === name || id === `${name}:latest`)) {
      const some = listed.slice(0, 8).join(', ') || 'none';
      throw new FleetError(
        'engine.unavailable',
        `the server at ${this.#options.baseUrl} has no model ${name} for ${model.variantId}; it lists: ${some}`,
        { hint: 'start the server with that model, or correct the mapping' },
      );
    }
    if (!this.#resident.has(model.variantId)) this.#resident.set(model.variantId, { model, jobs: new Set() });
    return { memory: bytes(0), loadTime: milliseconds(performance.now() - startedAt) };
  }

  async unload(variant: VariantId): Promise<void> {
    const resident = this.#resident.get(variant);
    this.#resident.delete(variant);
    for (const job of resident?.jobs ?? []) job.abort();
  }

  async generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: (text: string, tokens: number) => void,
    signal: AbortSignal,
  ): Promise<GenerateResult> {
    const resident = this.#resident.get(variant);
    if (resident === undefined || this.#closed) {
      throw new FleetError('engine.unavailable', `variant ${variant} is not resident`, { retryable: true });
    }
    const job = new AbortController();
    const abort = (): void => job.abort();
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    resident.jobs.add(job);
    const answer = new StreamedAnswer([...sampling.stop, ...resident.model.stop], input.kind, onText);
    try {
      await this.#stream(pathOf(input), this.#bodyOf(variant, input, sampling, resident.model), job.signal, answer);
      return answer.result(undefined);
    } catch (error) {
      if (job.signal.aborted) return answer.result('cancelled');
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      resident.jobs.delete(job);
    }
  }

  async score(): Promise<ScoreResult> {
    throw new FleetError(
      'engine.unavailable',
      'an OpenAI-compatible server gives no log-probabilities of a given text',
      {
        hint: 'scoring needs the llama engine',
      },
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
    for (const variant of this.#resident.keys()) await this.unload(variant);
  }

  #bodyOf(variant: VariantId, input: GenerateInput, sampling: Sampling, model: EngineModel): unknown {
    // OpenAI allows four; the rest is applied here.
    const stop = [...sampling.stop, ...model.stop].slice(0, 4);
    return {
      model: this.#options.modelOf(variant),
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: sampling.maxTokens,
      temperature: sampling.temperature,
      top_p: sampling.topP,
      ...(sampling.seed === undefined ? {} : { seed: sampling.seed }),
      ...(stop.length === 0 ? {} : { stop }),
      ...(input.kind === 'chat' ? { messages: input.messages } : { prompt: input.prompt }),
    };
  }

  async #stream(path: string, body: unknown, signal: AbortSignal, answer: StreamedAnswer): Promise<void> {
    const silence = new SilenceDeadline(this.#clock, SILENCE_DEADLINE);
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

  async #modelsOnceLoaded(signal: AbortSignal): Promise<readonly string[]> {
    const giveUpAt = this.#clock.now() + LOADING_DEADLINE;
    for (;;) {
      try {
        return await this.#models(signal);
      } catch (error) {
        const loading = isFleetError(error) && error.context['status'] === 503;
        if (!loading || this.#clock.now() >= giveUpAt) throw error;
        await pause(this.#clock, LOADING_RETRY, signal);
      }
    }
  }

  async #models(signal: AbortSignal): Promise<readonly string[]> {
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
      this.#setState({ state: 'ready' });
      return response;
    }
    const said = saidIn(await response.text().catch(() => ''));
    throw statusError(response.status, `${baseUrl}${path} answered ${response.status}: ${said}`);
  }

  /** The server is not there: down until it answers again. */
  #lost(what: string): FleetError {
    const reason = `the server at ${this.#options.baseUrl}: ${what}`;
    this.#setState({ state: 'down', reason });
    this.#cancelRetry();
    if (!this.#closed) {
      // A failure comes back here and sets the next try.
      this.#cancelRetry = this.#clock.after(DOWN_RETRY, () => {
        this.#models(new AbortController().signal).catch(() => {});
      });
    }
    return new FleetError('engine.unavailable', reason, { retryable: true, hint: 'is the server running?' });
  }

  #setState(state: EngineState): void {
    const changed = state.state !== this.#state.state && !this.#closed;
    this.#state = state;
    if (!changed) return;
    this.#options.log.info('engine.state', { ...state });
    for (const listener of this.#listeners) listener(state);
  }
}

function pathOf(input: GenerateInput): string {
  return input.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions';
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
