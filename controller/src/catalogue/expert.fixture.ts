import { createHash } from 'node:crypto';

import type { Expert, ModelFacts, Variant } from '@fleetgate/shared/catalogue/expert';
import { expertId, variantId } from '@fleetgate/shared/ids';

import type { RegisteredExpert } from './expert-registry.js';

export const FACTS: ModelFacts = {
  architecture: 'llama',
  parameters: 1_000_000,
  contextTokens: 512,
  layers: 2,
  embeddingLength: 64,
  slabsPerLayer: 0,
  slabsPerToken: 0,
  slabsBytes: 0,
  hasChatTemplate: true,
  quantisation: 'Q8_0',
  fileBytes: 1_000_000,
  memoryBytes: 4_000_000,
  tokenizer: 'b'.repeat(64),
};

/** A variant of one megabyte; its digest follows from its name. */
export function aVariant(expert: string, parts: Partial<Variant> = {}): Variant {
  return {
    id: variantId(`${expert}-q8_0`),
    expertId: expertId(expert),
    sha256: createHash('sha256').update(expert).digest('hex'),
    sizeBytes: 1_000_000,
    quantisation: 'Q8_0',
    facts: FACTS,
    ...parts,
  };
}

/** An expert of one variant whose file is said to lie at `/models/<name>.gguf`. */
export function aRegisteredExpert(name: string, parts: Partial<Variant> = {}): RegisteredExpert {
  const variant = aVariant(name, parts);
  const expert: Expert = {
    id: expertId(name),
    title: name,
    description: name,
    domains: [name],
    licence: { spdx: 'Apache-2.0' },
    origin: [],
    stop: ['\nQuestion:'],
    bitsPerByte: {},
    variants: [variant],
    addedAtMs: 1,
  };
  return { expert, paths: new Map([[variant.id, `/models/${name}.gguf`]]) };
}
