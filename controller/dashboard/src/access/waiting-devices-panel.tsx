import type { WaitingDeviceView } from '@fleetgate/shared/api/operations';

import { ago, UNKNOWN } from '../format.js';
import { AskingButton } from '../parts/asking-button.js';
import { usePage } from '../page.js';
import { useList } from '../state/use-list.js';
import { ListPanel } from '../parts/list-panel.js';

export function WaitingDevicesPanel() {
  const { client, store } = usePage();
  const listing = useList<WaitingDeviceView>('/api/v1/enrolments');
  const decide = async (name: string, verdict: 'approve' | 'deny'): Promise<void> => {
    await client.send('POST', `/api/v1/enrolments/${encodeURIComponent(name)}/${verdict}`);
    listing.refresh();
  };
  return (
    <ListPanel
      title="Devices that ask to join"
      listing={listing}
      none="No device waits. With --approve-devices, a device that joins is shown here first."
      columns={['Device', 'Board', 'From', 'Asked', 'Its key, SHA-256']}
      row={(device) => (
        <tr key={device.name} data-waiting={device.name}>
          <td class="strong">{device.name}</td>
          <td>{device.board}</td>
          <td>{device.address}</td>
          <td>{ago(device.askedAtMs, store.nowMs.value)}</td>
          <td>
            <code title="Compare it with what the device has logged">{device.keySha256?.slice(0, 16) ?? UNKNOWN}</code>
          </td>
          <td>
            {device.state === 'waiting' ? (
              <div class="row-actions">
                <AskingButton label="Let in" busy="Letting in…" act={() => decide(device.name, 'approve')} />
                <AskingButton
                  label="Deny…"
                  question={`Turn ${device.name} away?`}
                  yes="Deny"
                  busy="Denying…"
                  act={() => decide(device.name, 'deny')}
                />
              </div>
            ) : (
              device.state
            )}
          </td>
        </tr>
      )}
    />
  );
}
