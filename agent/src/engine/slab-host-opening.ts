import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { estimateMemory } from '@fleetgate/shared/gguf/facts';

import { slabLayout } from '../gguf/slab-layout.js';
import type { LlamaLibrary } from '../native/llama-library.js';
import type { ChildOptions } from './child-message.js';
import type { EngineModel } from './engine.js';
import { cancelled } from './llama-failure.js';
import { SlabModel } from './slab-model.js';
import { SlabModelHost } from './slab-model-host.js';
import { SlabVocabulary } from './slab-vocabulary.js';

/** Tokens of one evaluation at most: between two of them a call can be aborted and is seen to get on. */
const BATCH_TOKENS = 256;

/** Loads a model for the slab-aware engine. Throws `gguf.malformed`, `gguf.unsupported` and `job.cancelled`. */
export async function openSlabHost(
  library: LlamaLibrary,
  model: EngineModel,
  { threads, sequences }: Pick<ChildOptions, 'threads' | 'sequences'>,
  onProgress: () => void,
  signal: AbortSignal,
): Promise<SlabModelHost> {
  const header = await readGguf(model.path);
  if (signal.aborted) throw cancelled(`loading ${model.variantId}`);
  const layout = slabLayout(header, model.path);
  const slabModel = SlabModel.open(library, {
    path: model.path,
    layout,
    contextTokens: model.contextTokens,
    sequences,
    threads,
    batchTokens: Math.min(BATCH_TOKENS, model.contextTokens),
    slabsPerToken: model.serving?.slabsPerToken,
  });
  onProgress();
  return new SlabModelHost({
    model,
    slabModel,
    vocabulary: new SlabVocabulary(library, slabModel.vocab, header),
    sequences,
    residency: { strategy: 'none', reason: 'all slabs are in memory' },
    accountedBytes: estimateMemory(header, model.contextTokens, sequences, model.path),
    onProgress,
  });
}
