/** What happens to classes that are found: names, and when two of them are one. Pure. */
import type { ClassId } from '@fleetgate/shared/ids';

import { dot } from './spherical-k-means.js';
import type { TrackedClass } from './tracked-class.js';

export type ClassChange =
  | { readonly kind: 'found'; readonly id: ClassId; readonly label: string; readonly prompts: number }
  | { readonly kind: 'merged'; readonly id: ClassId; readonly label: string; readonly into: ClassId }
  | { readonly kind: 'forgotten'; readonly id: ClassId; readonly label: string };

export const FOUND_PREFIX = 'new-';
/** Classes whose centres have a higher cosine are one; far above what keeps a group from becoming a class (0.5). */
const ONE_CLASS = 0.75;
/** A second class is named when its cosine is at most this much lower than the nearest one's. */
const ALSO_NEAR = 0.15;

/** A found class that has come to where another is: the trained one stays, of two found ones the older. */
export function mergeAmong(
  classes: readonly TrackedClass[],
): { readonly from: TrackedClass; readonly into: TrackedClass } | undefined {
  for (const [at, from] of classes.entries()) {
    if (from.origin === 'trained') continue;
    // Trained classes come first, found ones in the order they were found.
    const into = classes.slice(0, at).find((other) => dot(other.centre, from.centre) > ONE_CLASS);
    if (into !== undefined) return { from, into };
  }
  return undefined;
}

/**
 * A found class is named after the trained classes it lies near, and not after words of its prompts: labels are shown and
 * kept, prompts are neither unless the operator wishes.
 */
export function foundLabel(centre: Float64Array, classes: readonly TrackedClass[]): string {
  const near = classes
    .filter(({ origin }) => origin === 'trained')
    .map(({ label, centre: other }) => ({ label, cosine: dot(centre, other) }))
    .sort((a, b) => b.cosine - a.cosine);
  const nearest = near[0]?.cosine ?? 0;
  const names = near.slice(0, 2).filter(({ cosine }) => cosine > 0 && nearest - cosine <= ALSO_NEAR);
  return names.length === 0 ? 'like no other' : `near ${names.map(({ label }) => label).join(' and ')}`;
}
