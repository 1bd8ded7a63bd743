import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import type { EngineAbility } from '@fleetgate/shared/protocol/twin';
import { bytes, milliseconds } from '@fleetgate/shared/units/quantity';

import type {
  EmbedResult,
  Engine,
  EngineModel,
  EngineState,
  GenerateExtras,
  GenerateInput,
  GenerateResult,
  LoadedModel,
  MixResult,
  OnText,
  ScoreResult,
} from './engine.js';
import { unitVector } from './embedding.js';
import { EngineStatus } from './engine-status.js';
import { HttpOpenAiServer } from './http-openai-server.js';
import { checkTopLogProbs } from './llama-grammar.js';
import { StreamedAnswer } from './streamed-answer.js';

export interface HttpEngineOptions {
  /** Where `/v1/models` is found, for example `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  /** Name of a variant's model at that server. */
  readonly modelOf: (variantId: VariantId) => string;
  readonly apiKey?: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

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
  readonly abilities: readonly EngineAbility[] = ['grammar', 'log-probs', 'embeddings'];
  readonly #options: HttpEngineOptions;
  readonly #resident = new Map<VariantId, { model: EngineModel; jobs: Set<AbortController> }>();
  readonly #status = new EngineStatus();
  readonly #server: HttpOpenAiServer;
  #closed = false;

  constructor(options: HttpEngineOptions) {
    this.#options = options;
    const { baseUrl, apiKey, log, clock = systemClock } = options;
    const key = apiKey === undefined ? {} : { apiKey };
    this.#server = new HttpOpenAiServer({ baseUrl, ...key, clock, log }, this.#status);
  }

  async version(): Promise<string> {
    await this.#server.models(new AbortController().signal);
    return `OpenAI-compatible server at ${this.#options.baseUrl}`;
  }

  state(): EngineState {
    return this.#status.current;
  }

  onState(listener: (state: EngineState) => void): () => void {
    return this.#status.onChange(listener);
  }

  async load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel> {
    const startedAt = performance.now();
    const name = this.#options.modelOf(model.variantId);
    const listed = await this.#server.modelsOnceLoaded(signal);
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
    onText: OnText,
    signal: AbortSignal,
    extras: GenerateExtras = {},
  ): Promise<GenerateResult> {
    const resident = this.#resident.get(variant);
    if (resident === undefined || this.#closed) {
      throw new FleetError('engine.unavailable', `variant ${variant} is not resident`, { retryable: true });
    }
    const unloaded = new AbortController();
    const ended = AbortSignal.any([signal, unloaded.signal]);
    resident.jobs.add(unloaded);
    checkTopLogProbs(extras.topLogProbs);
    const answer = new StreamedAnswer([...sampling.stop, ...resident.model.stop], input.kind, onText, extras);
    try {
      const body = { ...this.#bodyOf(variant, input, sampling, resident.model), ...extrasOf(input, extras) };
      await this.#server.stream(pathOf(input), body, ended, answer);
      return answer.result(undefined);
    } catch (error) {
      if (ended.aborted) return answer.result('cancelled');
      throw error;
    } finally {
      resident.jobs.delete(unloaded);
    }
  }

  async mix(): Promise<MixResult> {
    throw new FleetError(
      'engine.unavailable',
      'an OpenAI-compatible server does not let others choose the tokens of its answer',
      { hint: 'answering together needs the llama engine' },
    );
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

  async embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    if (!this.#resident.has(variant) || this.#closed) {
      throw new FleetError('engine.unavailable', `variant ${variant} is not resident`, { retryable: true });
    }
    const startedAt = performance.now();
    const { vectors, promptTokens } = await this.#server.embeddings(this.#options.modelOf(variant), texts, signal);
    return {
      vectors: vectors.map((vector) => unitVector(vector)),
      promptTokens,
      duration: milliseconds(performance.now() - startedAt),
    };
  }

  setSlabsPerToken(): boolean {
    return false;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#status.close();
    this.#server.close();
    for (const variant of this.#resident.keys()) await this.unload(variant);
  }

  #bodyOf(variant: VariantId, input: GenerateInput, sampling: Sampling, model: EngineModel): object {
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
}

function pathOf(input: GenerateInput): string {
  return input.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions';
}

/** Chats are asked by a switch, completions by how many alternatives are to be listed. */
function extrasOf(input: GenerateInput, { confidence, topLogProbs, grammar }: GenerateExtras): object {
  const isChat = input.kind === 'chat';
  const wantsLogProbs = confidence === true || topLogProbs !== undefined;
  return {
    ...(wantsLogProbs ? { logprobs: isChat ? true : Math.max(1, topLogProbs ?? 1) } : {}),
    ...(isChat && topLogProbs !== undefined ? { top_logprobs: topLogProbs } : {}),
    // llama-server's own field; what others do not know they ignore or refuse.
    ...(grammar?.kind === 'gbnf' ? { grammar: grammar.text } : {}),
    ...(grammar?.kind === 'json-schema'
      ? {
          response_format: {
            type: 'json_schema',
            json_schema: { name: 'answer', strict: true, schema: grammar.schema },
          },
        }
      : {}),
  };
}
