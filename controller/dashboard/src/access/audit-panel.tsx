import type { AuditView } from '@fleetgate/shared/api/access';

import { ago } from '../format.js';
import { Badge } from '../parts/badge.js';
import { usePage } from '../page.js';
import { useList } from '../state/use-list.js';
import { actionWords, actorWords } from './audit-words.js';
import { ListPanel } from '../parts/list-panel.js';

const TONES = { done: 'good', refused: 'warn', failed: 'bad' } as const;

export function AuditPanel() {
  const { store } = usePage();
  const listing = useList<AuditView>('/api/v1/audit?limit=20');
  return (
    <ListPanel
      title="What was changed last"
      listing={listing}
      none="Nothing was changed yet."
      columns={['When', 'By', 'From', 'What']}
      row={(entry) => (
        <tr key={entry.id}>
          <td>{ago(entry.atMs, store.nowMs.value)}</td>
          <td class="strong">{actorWords(entry.actor)}</td>
          <td>{entry.address}</td>
          <td>
            <code>{actionWords(entry)}</code>
          </td>
          <td>
            <Badge tone={TONES[entry.outcome]}>{entry.outcome}</Badge>
          </td>
        </tr>
      )}
    />
  );
}
