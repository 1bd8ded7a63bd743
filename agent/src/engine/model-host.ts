import type { Sampling } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

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
  OnText,
  ScoreResult,
  ScoreWishes,
} from './engine.js';

/** One resident model in an engine's child process; what `Engine` promises of a variant, its hosts do. */
export interface ModelHost {
  readonly model: EngineModel;
  /** What the runtime itself accounts for: weights, KV cache and compute buffers, bytes. */
  readonly accountedBytes: number;
  readonly residency?: LoadedModel['residency'];
  readonly patterns?: LoadedModel['patterns'];
  generate(
    input: GenerateInput,
    sampling: Sampling,
    seed: number,
    onText: OnText,
    signal: AbortSignal,
    extras?: GenerateExtras,
  ): Promise<GenerateResult>;
  /** `choose` resolves with undefined when the answer was aborted. */
  mix(
    options: MixOptions,
    choose: (step: MixStep) => Promise<number | undefined>,
    signal: AbortSignal,
  ): Promise<MixResult>;
  score(prompt: string, completion: string, signal: AbortSignal, wishes?: ScoreWishes): Promise<ScoreResult>;
  embed(texts: readonly string[], signal: AbortSignal): Promise<EmbedResult>;
  /** Active slabs per token from the next evaluation on; absent where the host cannot change them. */
  setSlabsPerToken?(slabs: number | undefined): void;
  dispose(): Promise<void>;
}

/** Of a call that was cancelled before it began. */
export function nothingAnswered(): GenerateResult {
  const none = milliseconds(0);
  return { finishReason: 'cancelled', promptTokens: 0, outputTokens: 0, prefill: none, decode: none };
}
