import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { VariantId } from '@fleetgate/shared/ids';

import type { Collaboration } from '../prompt.js';
import { affordable, type Allowance, type Member } from './members.js';
import { mixable } from './mixable.js';
import { briefMembers } from './answer-by-brief.js';
import type { JointCost } from './worthwhile.js';

/**
 * What the calls of a way of answering together are predicted to use; undefined where there are not enough experts for
 * it within the allowance. A cascade's own cost is in its value (`planCascade`): here only whether there is one.
 */
export function jointCost(
  how: Collaboration,
  members: readonly Member[],
  variants: ReadonlyMap<VariantId, Variant>,
  allowance: Allowance,
): JointCost | undefined {
  switch (how) {
    case 'ensemble':
      return together(mixable(members, variants, allowance));
    case 'vote':
      return together(affordable(members, allowance));
    case 'cascade':
      return together(affordable(members, allowance).slice(0, 2));
    case 'brief': {
      const { writer, larger } = briefMembers(members, variants);
      if (writer === undefined || larger === undefined || allowance.calls < 2) return undefined;
      return { energyJ: writer.energy + larger.energy, latencyMs: writer.latency + larger.latency };
    }
  }
}

/** Of members that are asked at once; one alone is no collaboration. */
function together(members: readonly Member[]): JointCost | undefined {
  if (members.length < 2) return undefined;
  return {
    energyJ: members.reduce((sum, { energy }) => sum + energy, 0),
    latencyMs: Math.max(...members.map(({ latency }) => latency)),
  };
}
