import type { ExpertId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Collaboration, Mode, Prompt } from './prompt.js';

interface VirtualModel {
  readonly mode: Mode;
  readonly collaboration?: Collaboration;
  readonly title: string;
}

/** Models that are a way of choosing rather than an expert. */
export const VIRTUAL_MODELS: ReadonlyMap<string, VirtualModel> = new Map<string, VirtualModel>([
  ['auto', { mode: 'auto', title: 'best expert at the prices of the active plan' }],
  ['auto:eco', { mode: 'eco', title: 'prefers experts and devices that need little energy' }],
  ['auto:fast', { mode: 'fast', title: 'prefers experts and devices that answer soon' }],
  ['auto:best', { mode: 'best', title: 'best predicted answer, whatever it costs' }],
  [
    'cascade',
    { mode: 'auto', collaboration: 'cascade', title: 'a cheap expert first, a better one where it is unsure' },
  ],
  ['ensemble', { mode: 'auto', collaboration: 'ensemble', title: 'several experts together, token by token' }],
  ['vote', { mode: 'auto', collaboration: 'vote', title: 'several experts answer, weighted majority wins' }],
  ['brief', { mode: 'auto', collaboration: 'brief', title: 'an expert writes background, a larger model answers' }],
]);

/** How several experts are to answer a prompt; undefined for one. */
export function collaborationOf({ collaboration, model, callOf }: Prompt): Collaboration | undefined {
  if (callOf !== undefined) return undefined;
  return collaboration ?? VIRTUAL_MODELS.get(model)?.collaboration;
}

/** Which experts and variants a model name stands for. */
export type ModelTarget =
  /** All experts, or those of `only`. */
  | { readonly kind: 'any'; readonly mode: Mode; readonly only?: ReadonlySet<string> }
  | { readonly kind: 'expert'; readonly expertId: ExpertId; readonly mode: Mode }
  | { readonly kind: 'variant'; readonly variantId: VariantId; readonly mode: Mode };

/** What `model` stands for, or undefined when the fleet knows no such model, or not all of `experts`. Virtual names win, then experts, then variants. */
export function resolveModel(
  { model, mode, experts }: Pick<Prompt, 'model' | 'mode' | 'experts'>,
  catalogue: Catalogue,
): ModelTarget | undefined {
  const virtual = VIRTUAL_MODELS.get(model);
  if (virtual !== undefined) {
    if (experts?.some((id) => !catalogue.experts.has(id as ExpertId)) === true) return undefined;
    const only = experts === undefined ? {} : { only: new Set(experts) };
    return { kind: 'any', mode: mode ?? virtual.mode, ...only };
  }
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
      return target.only?.has(expertId) ?? true;
    case 'expert':
      return target.expertId === expertId;
    case 'variant':
      return target.variantId === variantId;
  }
}
