import type { JoinTokenView } from '@fleetgate/shared/api/operations';
import { useState } from 'preact/hooks';

import { duration } from '../format.js';
import { AskingButton } from '../parts/asking-button.js';
import { usePage } from '../page.js';
import { useList } from '../state/use-list.js';
import { ListPanel } from '../parts/list-panel.js';
import { ShownOnce } from './shown-once.js';

const HOUR_S = 3600;

export function JoinTokensPanel() {
  const { client, store } = usePage();
  const listing = useList<JoinTokenView>('/api/v1/join-tokens');
  const [made, setMade] = useState<JoinTokenView | null>(null);
  const make = async (): Promise<void> => {
    setMade(await client.send<JoinTokenView>('POST', '/api/v1/join-tokens', { ttlS: HOUR_S, uses: 1 }));
    listing.refresh();
  };
  const remove = async (id: string): Promise<void> => {
    await client.send('DELETE', `/api/v1/join-tokens/${encodeURIComponent(id)}`);
    listing.refresh();
  };
  return (
    <ListPanel
      title="Join tokens"
      listing={listing}
      none="None is open. A token lets one device in, within an hour."
      columns={['Token', 'Good for', 'Devices left']}
      row={(token) => (
        <tr key={token.id}>
          <td>
            <code>{token.id}</code>
          </td>
          <td>{duration(Math.max(0, token.expiresAtMs - store.nowMs.value))}</td>
          <td>{token.usesLeft}</td>
          <td>
            <AskingButton
              label="End…"
              question="Let nobody in by it?"
              yes="End it"
              busy="Ending…"
              act={() => remove(token.id)}
            />
          </td>
        </tr>
      )}
    >
      {made?.token === undefined ? null : <ShownOnce what="join token" secret={made.token} />}
      <AskingButton label="New token for one device" busy="Making…" act={make} />
    </ListPanel>
  );
}
