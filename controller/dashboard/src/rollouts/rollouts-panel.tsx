import type { RolloutView } from '@fleetgate/shared/api/rollouts';

import { ago } from '../format.js';
import { AskingButton } from '../parts/asking-button.js';
import { Badge } from '../parts/badge.js';
import { ListPanel } from '../parts/list-panel.js';
import { usePage } from '../page.js';
import { useList } from '../state/use-list.js';
import { evidenceWords, ROLLOUT_TONES, subjectWords } from './rollout-words.js';

export function RolloutsPanel() {
  const { client, store } = usePage();
  const listing = useList<RolloutView>('/api/v1/rollouts');
  const change = async (id: string, verb: 'pause' | 'resume' | 'abort'): Promise<void> => {
    await client.send('POST', `/api/v1/rollouts/${encodeURIComponent(id)}/${verb}`);
    listing.refresh();
  };
  return (
    <ListPanel
      title="What replaces what"
      listing={listing}
      none="Nothing is being replaced. `fleetgate rollouts start` begins with one device."
      columns={['What', 'State', 'Wave', 'Devices', 'Began', 'Why']}
      row={(rollout) => (
        <tr key={rollout.id} data-rollout={rollout.id}>
          <td class="strong">{subjectWords(rollout)}</td>
          <td>
            <Badge tone={ROLLOUT_TONES[rollout.state]}>{rollout.state}</Badge>
          </td>
          <td>
            {Math.min(rollout.wave, rollout.waves.length)} of {rollout.waves.length}
          </td>
          <td title={rollout.devices.join(', ')}>{rollout.devices.length}</td>
          <td>{ago(rollout.createdAtMs, store.nowMs.value)}</td>
          <td class="rollout-why">{rollout.reason ?? evidenceWords(rollout)}</td>
          <td>
            {rollout.endedAtMs !== null ? null : (
              <div class="row-actions">
                {rollout.state === 'paused' ? (
                  <AskingButton label="Resume" busy="Resuming…" act={() => change(rollout.id, 'resume')} />
                ) : (
                  <AskingButton label="Pause" busy="Pausing…" act={() => change(rollout.id, 'pause')} />
                )}
                <AskingButton
                  label="Abort…"
                  question="Give every device back what it had?"
                  yes="Abort"
                  no="Go on"
                  busy="Aborting…"
                  act={() => change(rollout.id, 'abort')}
                />
              </div>
            )}
          </td>
        </tr>
      )}
    />
  );
}
