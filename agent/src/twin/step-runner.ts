import type { VariantId } from '@fleetgate/shared/ids';
import type { DesiredVariant } from '@fleetgate/shared/protocol/twin';

import type { ArtefactStore } from '../artefacts/artefact-store.js';
import type { Engine, EngineModel, LoadedModel } from '../engine/engine.js';
import type { Step, StepKind, StepOf } from './steps.js';

/** What executing steps needs and what it tells; each `on...` is called once its step succeeded. */
export interface StepContext {
  readonly engine: Engine;
  readonly artefacts: ArtefactStore;
  /** Resolves when no job of the variant runs or waits; it takes no new ones. */
  drain(variantId: VariantId, signal: AbortSignal): Promise<void>;
  measure(variant: DesiredVariant, signal: AbortSignal): Promise<void>;
  onProgress(variant: DesiredVariant, share: number): void;
  onStored(variant: DesiredVariant): Promise<void>;
  onLoaded(variant: DesiredVariant, loaded: LoadedModel): void;
  onUnloaded(variantId: VariantId): void;
}

type Executor<K extends StepKind> = (step: StepOf<K>, context: StepContext, signal: AbortSignal) => Promise<void>;

const EXECUTORS: { readonly [K in StepKind]: Executor<K> } = {
  evict: (step, { artefacts }) => artefacts.evict(step.sha256),
  fetch: async ({ variant, file }, context, signal) => {
    await context.artefacts.fetch(file, signal, (share) => context.onProgress(variant, share));
    await context.onStored(variant);
  },
  verify: async ({ variant, file }, context, signal) => {
    await context.artefacts.verify(file.sha256, signal);
    await context.onStored(variant);
  },
  unload: async ({ variantId }, context, signal) => {
    await context.drain(variantId, signal);
    await context.engine.unload(variantId);
    context.onUnloaded(variantId);
  },
  load: async ({ variant }, context, signal) => {
    context.onLoaded(variant, await context.engine.load(modelOf(variant, context.artefacts), signal));
  },
  measure: ({ variant }, context, signal) => context.measure(variant, signal),
};

function modelOf(variant: DesiredVariant, artefacts: ArtefactStore): EngineModel {
  const { variantId, sha256, contextTokens, stop } = variant;
  const { adapters = [], ...serving } = variant.serving ?? {};
  return {
    variantId,
    path: artefacts.path(sha256),
    contextTokens,
    stop,
    ...(Object.keys(serving).length === 0 ? {} : { serving }),
    ...(adapters.length === 0
      ? {}
      : { adapters: adapters.map((adapter) => ({ path: artefacts.path(adapter.sha256), scale: adapter.scale })) }),
  };
}

/** Does one step. Rejects with what went wrong; aborting `signal` ends it early. */
export function runStep(step: Step, context: StepContext, signal: AbortSignal): Promise<void> {
  // The table is complete by its type; one row's argument type is lost when it is looked up by a union.
  const executor = EXECUTORS[step.kind] as Executor<StepKind>;
  return executor(step, context, signal);
}
