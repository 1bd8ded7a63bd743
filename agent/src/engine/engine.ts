import type { ChatMessage, Sampling } from '@fleetgate/shared/protocol/job';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Bytes, Milliseconds } from '@fleetgate/shared/units/quantity';

/** A variant to be made resident. */
export interface EngineModel {
  readonly variantId: VariantId;
  /** GGUF file in the artefact store. An HTTP engine ignores it. */
  readonly path: string;
  readonly contextTokens: number;
  /** Strings that end an answer, besides those of a request. */
  readonly stop: readonly string[];
}

export interface LoadedModel {
  readonly memory: Bytes;
  readonly loadTime: Milliseconds;
}

export type GenerateInput =
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
  | { readonly kind: 'complete'; readonly prompt: string };

export interface GenerateResult {
  readonly finishReason: 'stop' | 'length' | 'cancelled';
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly prefill: Milliseconds;
  readonly decode: Milliseconds;
}

export interface ScoreResult {
  /** Sum of -log2 p over the scored tokens. */
  readonly bits: number;
  /** UTF-8 bytes of the scored tokens. */
  readonly bytes: number;
  readonly promptTokens: number;
  readonly scoredTokens: number;
  readonly duration: Milliseconds;
}

export type EngineState =
  { readonly state: 'ready' } | { readonly state: 'restarting' | 'down'; readonly reason: string };

/**
 * Hosts resident variants and runs prompts on them.
 *
 * Failures are FleetErrors: `engine.crashed` (also for every job that ran when it crashed), `engine.timeout` (no sign
 * of life within the watchdog), `engine.out-of-memory`, `engine.unavailable`, `gguf.malformed`. A crash never takes the
 * caller down: the engine restarts by itself with backoff and starts empty; the caller loads its variants again.
 */
export interface Engine {
  readonly kind: 'llama' | 'http' | 'scripted';
  version(): Promise<string>;
  /** The present state; `onState` tells of every change. */
  state(): EngineState;
  onState(listener: (state: EngineState) => void): () => void;
  load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel>;
  /** Idempotent. Running jobs of the variant are ended as cancelled first. */
  unload(variant: VariantId): Promise<void>;
  /** Calls `onText` with each piece of text as it comes; `tokens` is how many tokens it stands for. Aborting ends it as `cancelled`. */
  generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: (text: string, tokens: number) => void,
    signal: AbortSignal,
  ): Promise<GenerateResult>;
  /** Log-likelihood of `completion` after the chat prompt `prompt`. Throws `engine.unavailable` where the engine cannot. */
  score(variant: VariantId, prompt: string, completion: string, signal: AbortSignal): Promise<ScoreResult>;
  /** Ends everything it started; idempotent. */
  close(): Promise<void>;
}
