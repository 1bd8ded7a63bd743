import type { ProposalView } from '@fleetgate/shared/api/proposals';

import { bytes, percent, UNKNOWN } from '../format.js';
import { AskingButton } from '../parts/asking-button.js';
import { Badge } from '../parts/badge.js';
import { ListPanel } from '../parts/list-panel.js';
import { usePage } from '../page.js';
import { useList } from '../state/use-list.js';

const TONES = { open: 'busy', tolerated: 'good', 'too-much': 'off' } as const;
const WORDS = { open: 'being tried', tolerated: 'tolerable', 'too-much': 'loses too much' } as const;

export function ProposalsPanel() {
  const { client } = usePage();
  const listing = useList<ProposalView>('/api/v1/proposals');
  const accept = async (id: string): Promise<void> => {
    await client.send('POST', `/api/v1/proposals/${encodeURIComponent(id)}/accept`);
    listing.refresh();
  };
  return (
    <ListPanel
      title="What devices could do without"
      listing={listing}
      none="No proposals. They are made of mixtures with part of their slabs in memory, after some thousand tokens."
      columns={['Variant', 'On', 'Keep', 'Of choices', 'Saves', 'Quality lost', 'State']}
      row={(proposal) => (
        <tr key={proposal.id} data-proposal={proposal.id}>
          <td class="strong">{proposal.variantId}</td>
          <td title={proposal.devices.join(', ')}>{proposal.board}</td>
          <td>
            {proposal.slabs} of {proposal.of} slabs{proposal.kind === 'prune' ? ', no others' : ' in memory'}
          </td>
          <td>{percent(proposal.covered)}</td>
          <td>{bytes(proposal.savedBytes)}</td>
          <td>{proposal.lostQuality === null ? UNKNOWN : proposal.lostQuality.toFixed(4)}</td>
          <td>
            {proposal.kind === 'offload' ? (
              'the same answers'
            ) : (
              <Badge tone={TONES[proposal.state]}>{WORDS[proposal.state]}</Badge>
            )}
          </td>
          <td>
            {proposal.kind === 'prune' && proposal.state !== 'tolerated' ? null : (
              <AskingButton
                label="Roll out…"
                question={`Give it to one ${proposal.board} first?`}
                yes="Roll out"
                busy="Beginning…"
                act={() => accept(proposal.id)}
              />
            )}
          </td>
        </tr>
      )}
    />
  );
}
