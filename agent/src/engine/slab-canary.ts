import { FleetError } from '@fleetgate/shared/errors';

import type { SlabLayout } from '../gguf/slab-layout.js';
import type { SlabModel } from './slab-model.js';

/** A canary costs reading its slabs twice. */
const MOST_BYTES = 256 * 2 ** 20;
const MOST_TOKENS = 8;

/** Logits after a few tokens of no meaning: what a model must compute however its slabs are kept. */
export function canaryOf(model: SlabModel, layout: SlabLayout): Float32Array {
  const bytesPerToken = layout.layers.length * layout.slabsPerToken * layout.slabBytes;
  const most = Math.min(MOST_TOKENS, model.batchTokens);
  const count = Math.max(1, Math.min(most, Math.floor(MOST_BYTES / bytesPerToken)));
  model.forget(0, 0);
  model.evaluate(
    Array.from({ length: count }, (_, position) => {
      const token = (position * 7919 + 17) % model.vocabulary;
      return { token, position, sequence: 0, output: position === count - 1 };
    }),
  );
  const logits = new Float32Array(model.vocabulary);
  model.logits(count - 1, logits);
  model.forget(0, 0);
  return logits;
}

/** Throws `engine.unavailable` where the model computes anything else now. */
export function checkCanary(model: SlabModel, layout: SlabLayout, expected: Float32Array): void {
  const logits = canaryOf(model, layout);
  const differing = logits.findIndex((logit, i) => !Object.is(logit, expected[i]));
  if (differing < 0) return;
  throw new FleetError(
    'engine.unavailable',
    `with slabs in a cache of our own, logit ${differing} is ${logits[differing]}, expected ${expected[differing]}`,
    { hint: 'the model is served whole instead; please report this' },
  );
}
