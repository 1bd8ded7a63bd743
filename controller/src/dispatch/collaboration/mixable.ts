import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { VariantId } from '@fleetgate/shared/ids';

import { affordable, type Allowance, type Member } from './members.js';

/**
 * The members whose next-token distributions can be mixed: those of the tokenizer that most of the predicted quality is
 * behind, best first, as many as can all be asked. One member alone where no two have the same.
 */
export function mixable(
  members: readonly Member[],
  variants: ReadonlyMap<VariantId, Variant>,
  allowance: Allowance,
): readonly Member[] {
  const groups = new Map<string, Member[]>();
  for (const member of members) {
    // A model whose tokenizer is not known can be mixed with nobody.
    const tokenizer = variants.get(member.variantId)?.facts.tokenizer ?? `of ${member.variantId}`;
    groups.set(tokenizer, [...(groups.get(tokenizer) ?? []), member]);
  }
  const quality = (group: readonly Member[]): number => group.reduce((sum, member) => sum + member.quality, 0);
  const best = [...groups.values()].reduce<readonly Member[]>(
    (most, group) => (quality(group) > quality(most) ? group : most),
    [],
  );
  return affordable(
    best.toSorted((a, b) => b.quality - a.quality),
    allowance,
  );
}
