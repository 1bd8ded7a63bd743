import type { KeyView, NewKeyView } from '@fleetgate/shared/api/access';
import { useState } from 'preact/hooks';

import { ago } from '../format.js';
import { AskingButton } from '../parts/asking-button.js';
import { Badge } from '../parts/badge.js';
import { usePage } from '../page.js';
import { useList } from '../state/use-list.js';
import { KeyForm } from './key-form.js';
import { ListPanel } from '../parts/list-panel.js';
import { ShownOnce } from './shown-once.js';

const TONES = { valid: 'good', expired: 'off', revoked: 'off' } as const;

export function KeysPanel() {
  const { client, store } = usePage();
  const listing = useList<KeyView>('/api/v1/keys');
  const [made, setMade] = useState<NewKeyView | null>(null);
  const revoke = async (id: string): Promise<void> => {
    await client.send('DELETE', `/api/v1/keys/${encodeURIComponent(id)}`);
    listing.refresh();
  };
  return (
    <ListPanel
      title="API keys"
      listing={listing}
      none="No key was given out yet."
      columns={['For', 'Tenant', 'May', 'State', 'Used']}
      row={(key) => (
        <tr key={key.id} data-key={key.id}>
          <td class="strong">{key.label}</td>
          <td>{key.tenant ?? 'as asked'}</td>
          <td>{key.scopes.join(', ')}</td>
          <td>
            <Badge tone={TONES[key.state]}>{key.state}</Badge>
          </td>
          <td>{ago(key.lastUsedAtMs, store.nowMs.value)}</td>
          <td>
            {key.state === 'valid' ? (
              <AskingButton
                label="Revoke…"
                question="End it and what it has open?"
                yes="Revoke"
                busy="Revoking…"
                act={() => revoke(key.id)}
              />
            ) : null}
          </td>
        </tr>
      )}
    >
      {made === null ? null : <ShownOnce what="API key" secret={made.key} />}
      <KeyForm
        onMade={(key) => {
          setMade(key);
          listing.refresh();
        }}
      />
    </ListPanel>
  );
}
