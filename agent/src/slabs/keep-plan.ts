import { FleetError } from '@fleetgate/shared/errors';

import type { Importance } from './importance.js';
import type { KeepSets } from './routing.js';

export interface KeepRules {
  /** Slabs that stay in each layer. */
  readonly keep: number;
  /** Slabs that a token uses: fewer cannot stay. */
  readonly slabsPerToken: number;
  /** Groups of slabs next to each other that the router limits its choice to (DeepSeek); 1 where it does not. */
  readonly groups: number;
  /** By layer and slab: whether it stays whatever its importance. */
  readonly isProtected?: (layer: number, slab: number) => boolean;
}

/**
 * The slabs that stay: in each layer the protected ones, then the most important, ties to the lower number; equally many
 * in each group. Ascending. Throws `usage.invalid` for a number that no layer can keep.
 */
export function keepPlan(importance: Importance, rules: KeepRules): KeepSets {
  const slabs = importance[0]?.length ?? 0;
  const { keep, slabsPerToken, groups, isProtected } = rules;
  if (!Number.isInteger(keep) || keep < slabsPerToken || keep > slabs) {
    throw new FleetError('usage.invalid', `--keep ${keep}: expected ${slabsPerToken} to ${slabs} slabs of each layer`, {
      hint: `a token uses ${slabsPerToken} slabs: with fewer the model cannot be computed`,
    });
  }
  if (keep % groups !== 0) {
    throw new FleetError(
      'usage.invalid',
      `--keep ${keep}: expected a multiple of the model's ${groups} groups of slabs`,
    );
  }
  return importance.map((layer, l) => {
    const size = slabs / groups;
    return Array.from({ length: groups }, (_, group) => {
      const inGroup = Array.from({ length: size }, (_, i) => group * size + i);
      const first = (slab: number): number => (isProtected?.(l, slab) === true ? 1 : 0);
      return inGroup
        .toSorted((a, b) => first(b) - first(a) || (layer[b] ?? 0) - (layer[a] ?? 0) || a - b)
        .slice(0, keep / groups)
        .toSorted((a, b) => a - b);
    }).flat();
  });
}
