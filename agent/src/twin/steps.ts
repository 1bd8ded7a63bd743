import { buildKey, filesOf } from '@fleetgate/shared/catalogue/serving';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';

/** A file of a variant: its own, or that of one of its adapters. */
export interface VariantFile {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** One thing to do on the way to the desired state. */
export type Step =
  | { readonly kind: 'evict'; readonly sha256: string; readonly sizeBytes: number }
  | { readonly kind: 'fetch'; readonly variant: DesiredVariant; readonly file: VariantFile }
  | { readonly kind: 'verify'; readonly variant: DesiredVariant; readonly file: VariantFile }
  | { readonly kind: 'unload'; readonly variantId: VariantId }
  | { readonly kind: 'load'; readonly variant: DesiredVariant }
  | { readonly kind: 'measure'; readonly variant: DesiredVariant };

export type StepKind = Step['kind'];
export type StepOf<K extends StepKind> = Extract<Step, { readonly kind: K }>;

/** The variant a step is about; undefined for an eviction, which is about bytes that nobody wants. */
export function variantOf(step: Step): VariantId | undefined {
  switch (step.kind) {
    case 'evict':
      return undefined;
    case 'unload':
      return step.variantId;
    case 'fetch':
    case 'verify':
    case 'load':
    case 'measure':
      return step.variant.variantId;
  }
}

/** Whether a running step is still on the way to `desired`. Giving bytes back always is. */
export function isWanted(step: Step, desired: Desired): boolean {
  if (step.kind === 'unload' || step.kind === 'evict') return true;
  const { variantId, contextTokens } = step.variant;
  const build = buildKey(step.variant);
  return (
    desired.state === 'active' &&
    desired.variants.some(
      (variant) =>
        variant.variantId === variantId &&
        (step.kind === 'fetch' || step.kind === 'verify'
          ? filesOf(variant).some(({ sha256 }) => sha256 === step.file.sha256)
          : variant.contextTokens === contextTokens && buildKey(variant) === build) &&
        (step.kind !== 'measure' || variant.purpose === 'measure'),
    )
  );
}
