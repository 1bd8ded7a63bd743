import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Bytes } from '@fleetgate/shared/units/quantity';

import type { EngineModel } from './engine.js';

export function cancelled(what: string): FleetError {
  return new FleetError('job.cancelled', `${what} was cancelled`);
}

/** The FleetError that a failed load of a model means. `detail` is what the runtime logged. */
export function loadError(model: EngineModel, error: unknown, detail: string, signal: AbortSignal): FleetError {
  if (signal.aborted) return cancelled(`loading ${model.variantId}`);
  const name = error instanceof Error ? error.constructor.name : '';
  const said = [messageOf(error), detail].filter((text) => text !== '').join('; ');
  if (name === 'InsufficientMemoryError' || /context|alloc|memory/i.test(messageOf(error))) {
    return new FleetError('engine.out-of-memory', `${model.variantId} does not fit in memory: ${said}`, {
      cause: error,
      hint: 'unload another variant, or use a smaller one or a shorter context',
    });
  }
  return new FleetError('gguf.unsupported', `${model.path}: llama.cpp cannot load it: ${said}`, {
    cause: error,
    hint: 'the file may need a newer llama.cpp, or it is damaged: compare its sha256',
  });
}

/** Refuses a prompt that leaves no room for a token of its answer. */
export function checkFits({ variantId, contextTokens }: EngineModel, promptTokens: number): void {
  if (promptTokens < contextTokens) return;
  throw new FleetError(
    'request.invalid',
    `the prompt has ${promptTokens} tokens, but ${variantId} holds ${contextTokens} with its answer`,
    { hint: 'shorten the prompt, or ask a model with a longer context' },
  );
}

/** Of an engine that computes a model as it is. */
export function noMask({ variantId }: Pick<EngineModel, 'variantId'>): FleetError {
  return new FleetError('engine.unavailable', `${variantId} cannot be computed with some of its slabs here`, {
    hint: 'only where its slabs are looked after: with a budget of slabs, or a mask',
  });
}

/**
 * Refuses a model that the machine (or this process's memory group) cannot hold, before anything is allocated: the
 * system hands out more memory than there is and kills when it is used.
 */
export function checkMemory(need: Bytes, variant: VariantId): void {
  const available = process.availableMemory();
  if (need <= available) return;
  throw new FleetError(
    'engine.out-of-memory',
    `${variant} needs an estimated ${need} bytes (weights, KV cache, compute buffers), but ${available} are available`,
    { hint: 'unload another variant, or use a smaller one, a shorter context or fewer sequences' },
  );
}
