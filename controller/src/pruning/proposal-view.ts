import type { ProposalView } from '@fleetgate/shared/api/proposals';

import type { ProposalState } from './residency-loop.js';

export function proposalView({ proposal, trial, state }: ProposalState): ProposalView {
  const { id, demand, kind, slabs, covered, savedBytes } = proposal;
  const { variantId, board, devices, tokens, shares } = demand;
  return {
    ...{ id, variantId, board, devices, tokens, kind, slabs, covered, savedBytes, state },
    of: shares[0]?.length ?? 0,
    lostQuality: trial.lost.n === 0 ? null : trial.lost.mean,
    prompts: trial.lost.n,
  };
}
