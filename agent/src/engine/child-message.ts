import { type ErrorCode, FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Sampling, TokenChoice } from '@fleetgate/shared/protocol/job';

import type {
  EmbedResult,
  EngineModel,
  GenerateExtras,
  GenerateInput,
  GenerateResult,
  LoadedModel,
  MixOptions,
  MixResult,
  MixStep,
  ScoreResult,
  ScoreWishes,
} from './engine.js';

/** What the engine's child is started with, as JSON in its first argument. */
export interface ChildOptions {
  readonly threads: number;
  readonly sequences: number;
  readonly gpu: 'off' | 'auto';
  readonly heartbeatMs: number;
}

/** Each kind of call with what it takes and answers. */
export interface Calls {
  load: { takes: { model: EngineModel }; answers: LoadedModel };
  unload: { takes: { variantId: VariantId }; answers: null };
  generate: {
    takes: {
      variantId: VariantId;
      input: GenerateInput;
      sampling: Sampling;
      seed: number;
      extras: GenerateExtras;
    };
    answers: GenerateResult;
  };
  mix: { takes: { variantId: VariantId; options: MixOptions }; answers: MixResult };
  score: {
    takes: { variantId: VariantId; prompt: string; completion: string; wishes: ScoreWishes | undefined };
    answers: ScoreResult;
  };
  embed: { takes: { variantId: VariantId; texts: readonly string[] }; answers: EmbedResult };
}
export type CallKind = keyof Calls;
export type Call = {
  [K in CallKind]: {
    readonly kind: K;
    readonly id: number;
    /** Cancelled before it was made: it is to do nothing. */
    readonly aborted?: true;
  } & Readonly<Calls[K]['takes']>;
}[CallKind];

/** Parent to child. */
export type ToChild =
  | Call
  | { readonly kind: 'cancel'; readonly id: number }
  /** Goes on with a `mix` call that waits for its next token. */
  | { readonly kind: 'token'; readonly id: number; readonly token: number }
  /** Active slabs per token of a variant; null: as it was loaded. */
  | { readonly kind: 'slabs'; readonly variantId: VariantId; readonly slabs: number | null };

/** Child to parent. Any of them is a sign of life. */
export type FromChild =
  | { readonly kind: 'started'; readonly version: string }
  | { readonly kind: 'start-failed'; readonly error: PlainError }
  /** `progress` grows with every finished native step; `busy` while one is running or due. */
  | { readonly kind: 'heartbeat'; readonly progress: number; readonly busy: boolean }
  | {
      readonly kind: 'text';
      readonly id: number;
      readonly text: string;
      readonly tokens: number;
      readonly ids?: readonly number[];
      readonly choices?: readonly TokenChoice[];
    }
  /** The call waits for a `token`. */
  | { readonly kind: 'step'; readonly id: number; readonly step: MixStep }
  | { readonly kind: 'done'; readonly id: number; readonly result: Calls[CallKind]['answers'] }
  | { readonly kind: 'failed'; readonly id: number; readonly error: PlainError };

/** A FleetError on its way between the processes. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly retryable: boolean;
}

export function toPlainError(error: unknown): PlainError {
  if (!isFleetError(error)) return { code: 'engine.unavailable', message: messageOf(error), retryable: false };
  const { code, message, hint, retryable } = error;
  return { code, message, retryable, ...(hint === undefined ? {} : { hint }) };
}

export function fromPlainError({ code, message, hint, retryable }: PlainError): FleetError {
  return new FleetError(code, message, { retryable, ...(hint === undefined ? {} : { hint }) });
}
