import type { SlabMask } from '@fleetgate/shared/catalogue/slab-mask';
import type { SlabHeat } from '@fleetgate/shared/catalogue/slab-heat';
import type { Serving } from '@fleetgate/shared/catalogue/serving';
import type { Grammar } from '@fleetgate/shared/protocol/grammar';
import type { BegunAnswer, ChatMessage, Sampling, TokenChoice } from '@fleetgate/shared/protocol/job';
import type { EngineAbility } from '@fleetgate/shared/protocol/twin';
import type { VariantId } from '@fleetgate/shared/ids';
import type { NextTokens } from '@fleetgate/shared/mixture/next-token';
import type { Bytes, Milliseconds } from '@fleetgate/shared/units/quantity';

import type { ResidencyFigures, ResidencyStrategy } from '../residency/residency.js';
import type { PatternLikeness } from '../slabs/task-patterns.js';

/** A variant to be made resident. */
export interface EngineModel {
  readonly variantId: VariantId;
  /** GGUF file in the artefact store. An HTTP engine ignores it. */
  readonly path: string;
  readonly contextTokens: number;
  /** Strings that end an answer, besides those of a request. */
  readonly stop: readonly string[];
  /** For a mixture of experts; absent: the whole file in memory, as it is. */
  readonly serving?: Serving;
  /** Laid over the weights, in this order. Variants of one file that differ in them share its weights in memory. */
  readonly adapters?: readonly Adapter[];
}

/** A low-rank change of a model's weights (LoRA), in a GGUF file of its own. */
export interface Adapter {
  readonly path: string;
  /** 1: as it was trained; 0: not at all. */
  readonly scale: number;
}

export interface LoadedModel {
  readonly memory: Bytes;
  readonly loadTime: Milliseconds;
  /** How slabs are kept in memory, and why so; absent where the engine has no say in it. */
  readonly residency?: { readonly strategy: ResidencyStrategy; readonly reason: string };
  /** Of the tasks that the model's file knows the patterns of: how alike they are. */
  readonly patterns?: PatternLikeness;
}

export type GenerateInput =
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
  | { readonly kind: 'complete'; readonly prompt: string };

/**
 * A piece of an answer's text, how many tokens it stands for, and, where asked for, tokens chosen since the last piece and
 * how likely they were.
 */
export type OnText = (text: string, tokens: number, ids?: readonly number[], choices?: readonly TokenChoice[]) => void;

export interface GenerateResult {
  readonly finishReason: 'stop' | 'length' | 'cancelled';
  readonly promptTokens: number;
  /** Of the prompt, tokens whose keys and values an earlier call had left. Absent: none. */
  readonly reusedTokens?: number;
  /** Of the prompt, tokens of an answer that was begun elsewhere. Absent: none. */
  readonly resumedTokens?: number;
  readonly outputTokens: number;
  readonly prefill: Milliseconds;
  readonly decode: Milliseconds;
  /** Where it was asked for and the engine tells: see `done` in the protocol. */
  readonly meanLogProb?: number;
  /** Where asked for: every token of the answer that was not told with its text, the end token not counted. */
  readonly choices?: readonly TokenChoice[];
  /** What keeping slabs on storage meant for this answer; absent where all of them are in memory. */
  readonly slabs?: ResidencyFigures;
  /** How often each slab was chosen of late, now and then. */
  readonly heat?: SlabHeat;
  /** Absent where no task's pattern was looked for, or none was near. */
  readonly pattern?: TakenPattern;
}

/** The task of the model's profile that a prompt was taken to be of, by how the router chose on it. */
export interface TakenPattern {
  readonly task: string;
  /** See `nearestPattern`; 0..1. */
  readonly similarity: number;
  /** With a task mask: slabs of each layer that the answer was computed with. */
  readonly keep?: number;
}

/** What may be asked of a score besides. */
export interface ScoreWishes {
  /** Asks for `promptBits` and `tokenBits`. */
  readonly detail?: 'tokens' | undefined;
  /** The model is computed with these slabs alone. Throws `engine.unavailable` where the engine has no say in them. */
  readonly slabMask?: SlabMask | undefined;
}

/** What may be asked of an answer besides. Engines that cannot do it throw `engine.unavailable`, or leave it out. */
export interface GenerateExtras {
  /** Asks for `meanLogProb`. */
  readonly confidence?: boolean | undefined;
  /** Asks for `choices`, with so many likeliest tokens each, 0 to 20. */
  readonly topLogProbs?: number | undefined;
  /** Asks for them with the text that they are of, as far as they are known by then. */
  readonly choicesWithText?: boolean | undefined;
  readonly grammar?: Grammar | undefined;
  /** Asks for `ids` with each piece of text. */
  readonly tokenIds?: boolean | undefined;
  /** Goes on with it: only what comes after it is said. `maxTokens` counts it. */
  readonly resume?: BegunAnswer | undefined;
}

/** An answer whose tokens somebody else chooses. */
export interface MixOptions {
  readonly input: GenerateInput;
  /** Tokens that each step gives the probabilities of. */
  readonly topK: number;
  readonly maxTokens: number;
  readonly stop: readonly string[];
}

export interface MixStep {
  /** 0 after the prompt, n after the token of step n - 1. */
  readonly step: number;
  readonly next: NextTokens;
  /** At step 0: sum of -log2 p over the prompt's tokens after the first. */
  readonly promptBits?: number;
  /** Text that the token of the step before has added. */
  readonly text: string;
}

/** `decode` counts the engine's own time, not the chooser's. */
export interface MixResult extends GenerateResult {
  /** Text that no step has given. */
  readonly text: string;
}

export interface ScoreResult {
  /** Sum of -log2 p over the scored tokens. */
  readonly bits: number;
  /** UTF-8 bytes of the scored tokens. */
  readonly bytes: number;
  readonly promptTokens: number;
  readonly scoredTokens: number;
  readonly duration: Milliseconds;
  /** With `tokens`: bits of the chat prompt after its first token, and of each scored token in order. */
  readonly promptBits?: number;
  readonly tokenBits?: readonly number[];
}

export interface EmbedResult {
  /** One a text, in their order, each of length 1. */
  readonly vectors: readonly (readonly number[])[];
  readonly promptTokens: number;
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
  /** Which extras of an answer it gives. */
  readonly abilities: readonly EngineAbility[];
  version(): Promise<string>;
  /** The present state; `onState` tells of every change. */
  state(): EngineState;
  onState(listener: (state: EngineState) => void): () => void;
  load(model: EngineModel, signal: AbortSignal): Promise<LoadedModel>;
  /** Idempotent. Running jobs of the variant are ended as cancelled first. */
  unload(variant: VariantId): Promise<void>;
  /**
   * Calls `onText` with each piece of text as it comes. Aborting ends it as `cancelled`. Throws `request.invalid` for a grammar that is none.
   */
  generate(
    variant: VariantId,
    input: GenerateInput,
    sampling: Sampling,
    onText: OnText,
    signal: AbortSignal,
    extras?: GenerateExtras,
  ): Promise<GenerateResult>;
  /**
   * Answers token by token: gives `choose` the probabilities of the next one and goes on with the token that it resolves
   * with. Ends as `stop` at an end token or a stop string, as `length` at `maxTokens` or the end of the context, as
   * `cancelled` when aborted; fails with what `choose` rejects with, with `request.invalid` for a token that the model
   * does not have, and with `engine.unavailable` where the engine cannot.
   */
  mix(
    variant: VariantId,
    options: MixOptions,
    choose: (step: MixStep) => Promise<number>,
    signal: AbortSignal,
  ): Promise<MixResult>;
  /**
   * Log-likelihood of `completion` after the chat prompt `prompt`; with `tokens` also of each token. Throws
   * `engine.unavailable` where the engine cannot.
   */
  score(
    variant: VariantId,
    prompt: string,
    completion: string,
    signal: AbortSignal,
    wishes?: ScoreWishes,
  ): Promise<ScoreResult>;
  /**
   * Texts as vectors: the model's state after a text's last token, or as the model itself pools it. Throws
   * `request.invalid` for a text of no tokens or of more than the context, `engine.unavailable` where the engine cannot.
   */
  embed(variant: VariantId, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult>;
  /**
   * Active slabs per token of a resident variant from its next evaluation on, running answers included; undefined: as it
   * was loaded. Answers whether the engine can do that.
   */
  setSlabsPerToken(variant: VariantId, slabs: number | undefined): boolean;
  /** Ends everything it started; idempotent. */
  close(): Promise<void>;
}
