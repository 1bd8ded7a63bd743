import type { ExpertId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Mode } from './prompt.js';

/** Models that are a way of choosing rather than an expert. */
export const VIRTUAL_MODELS: ReadonlyMap<string, { readonly mode: Mode; readonly title: string }> = new Map([
  ['auto', { mode: 'auto', title: 'best expert at the prices of the active plan' }],
  ['auto:eco', { mode: 'eco', title: 'prefers experts and devices that need little energy' }],
  ['auto:fast', { mode: 'fast', title: 'prefers experts and devices that answer soon' }],
  ['auto:best', { mode: 'best', title: 'best predicted answer, whatever it costs' }],
]);

/** Which experts and variants a model name stands for. */
export type ModelTarget =
  | { readonly kind: 'any'; readonly mode: Mode }
  | { readonly kind: 'expert'; readonly expertId: ExpertId; readonly mode: Mode }
  | { readonly kind: 'variant'; readonly variantId: VariantId; readonly mode: Mode };

/** What `model` stands for, or undefined when the fleet knows no such model. Virtual names win, then experts, then variants. */
export function resolveModel(model: string, mode: Mode | undefined, catalogue: Catalogue): ModelTarget | undefined {
  const virtual = VIRTUAL_MODELS.get(model);
  if (virtual !== undefined) return { kind: 'any', mode: mode ?? virtual.mode };
  const expert = catalogue.experts.get(model as ExpertId);
  if (expert !== undefined) return { kind: 'expert', expertId: expert.id, mode: mode ?? 'auto' };
  const variant = catalogue.variants.get(model as VariantId);
  if (variant !== undefined) return { kind: 'variant', variantId: variant.id, mode: mode ?? 'auto' };
  return undefined;
}

/** Whether a variant is among what was asked for. */
export function isAskedFor(target: ModelTarget, expertId: ExpertId, variantId: VariantId): boolean {
  switch (target.kind) {
    case 'any':
      return true;
    case 'expert':
      return target.expertId === expertId;
    case 'variant':
      return target.variantId === variantId;
  }
}
