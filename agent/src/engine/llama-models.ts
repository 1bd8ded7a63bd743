import type { Llama, LlamaModel, LlamaModelOptions } from 'node-llama-cpp';

import { readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';

import type { EngineModel } from './engine.js';

/** Weights in memory, of one variant or of several that differ in what is laid over them. */
export interface SharedModel {
  readonly llamaModel: LlamaModel;
  /** Whether another variant had loaded them before. */
  readonly isShared: boolean;
  /** To be called once, when nothing of the caller's uses them any more. */
  release(): Promise<void>;
}

/** The weights that an engine's child holds: each file once, for as long as somebody uses it. */
export class LlamaModels {
  readonly #llama: Llama;
  readonly #held = new Map<string, { readonly llamaModel: LlamaModel; users: number }>();

  constructor(llama: Llama) {
    this.#llama = llama;
  }

  /** Not to be called twice at once. Rejects as node-llama-cpp's `loadModel` does. */
  async acquire(model: EngineModel, onProgress: () => void, signal: AbortSignal): Promise<SharedModel> {
    const key = weightsKey(model);
    const present = this.#held.get(key);
    const held = present ?? { llamaModel: await this.#load(model, onProgress, signal), users: 0 };
    this.#held.set(key, held);
    held.users++;
    return {
      llamaModel: held.llamaModel,
      isShared: present !== undefined,
      release: async () => {
        held.users--;
        if (held.users > 0) return;
        this.#held.delete(key);
        await held.llamaModel.dispose();
      },
    };
  }

  async #load(model: EngineModel, onProgress: () => void, signal: AbortSignal): Promise<LlamaModel> {
    return this.#llama.loadModel({
      modelPath: model.path,
      ...(this.#llama.gpu === false ? { gpuLayers: 0 } : {}),
      ...(await activeSlabs(model)),
      loadSignal: signal,
      onLoadProgress: onProgress,
    });
  }
}

/** Equal for variants that can be served from the same weights in memory. */
export function weightsKey({ path, serving }: EngineModel): string {
  return JSON.stringify([path, serving?.slabsPerToken ?? null]);
}

/** Fewer active slabs per token than the file says. */
async function activeSlabs({ path, serving }: EngineModel): Promise<Pick<LlamaModelOptions, 'metadataOverrides'>> {
  if (serving?.slabsPerToken === undefined) return {};
  const { architecture } = await readModelFacts(path);
  return { metadataOverrides: { [architecture]: { expert_used_count: serving.slabsPerToken } } };
}
