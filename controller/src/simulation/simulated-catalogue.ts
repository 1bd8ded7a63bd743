import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';
import { expertId, variantId } from '@fleetgate/shared/ids';
import { createHash } from 'node:crypto';

import type { Catalogue } from '../catalogue/catalogue.js';
import { memoryGiBOf, paramsOf } from './boards.js';

const GIB = 2 ** 30;
/** Of a model whose name tells no size, 1e9 parameters. */
const UNKNOWN_PARAMS = 7;

export interface SimulatedExpert {
  /** As outcome files name it. */
  readonly model: string;
  readonly paramsB: number;
  readonly expert: Expert;
  readonly variant: Variant;
}

/** An expert with one 4-bit variant for every model of the outcomes; sizes are what the names tell. */
export function simulatedExperts(models: readonly string[]): readonly SimulatedExpert[] {
  return models.map((model) => {
    const paramsB = paramsOf(model) ?? UNKNOWN_PARAMS;
    const id = expertId(model.toLowerCase());
    const fileBytes = Math.round((memoryGiBOf(paramsB) - memoryGiBOf(0)) * GIB);
    const variant: Variant = {
      id: variantId(`${id}-q4`),
      expertId: id,
      sha256: createHash('sha256').update(model).digest('hex'),
      sizeBytes: fileBytes,
      quantisation: 'Q4_K_M',
      facts: {
        // Fine-tunes of one size share what is learned of their cost; these are different models.
        architecture: model,
        parameters: Math.round(paramsB * 1e9),
        contextTokens: 16_384,
        layers: 32,
        embeddingLength: 4096,
        slabsPerLayer: 0,
        slabsPerToken: 0,
        hasChatTemplate: true,
        quantisation: 'Q4_K_M',
        fileBytes,
        memoryBytes: Math.round(memoryGiBOf(paramsB) * GIB),
      },
    };
    const expert: Expert = {
      id,
      title: model,
      description: `${model}, simulated`,
      domains: [],
      licence: { spdx: 'unknown' },
      origin: [],
      stop: [],
      bitsPerByte: {},
      variants: [variant],
      addedAtMs: 0,
    };
    return { model, paramsB, expert, variant };
  });
}

export function catalogueOf(experts: readonly SimulatedExpert[]): Catalogue {
  return {
    experts: new Map(experts.map(({ expert }) => [expert.id, expert])),
    variants: new Map(experts.map(({ variant }) => [variant.id, variant])),
  };
}
