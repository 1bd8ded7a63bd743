import { Loading, Section } from '../parts/section.js';
import { usePage } from '../page.js';
import { AuditPanel } from './audit-panel.js';
import { JoinTokensPanel } from './join-tokens-panel.js';
import { KeysPanel } from './keys-panel.js';
import { TenantsPanel } from './tenants-panel.js';
import { WaitingDevicesPanel } from './waiting-devices-panel.js';

/** Who is let in: devices, keys and tenants; and who changed what. */
export function AccessSection() {
  const { store } = usePage();
  return (
    <Section id="access" title="Access">
      {!store.loaded.value ? (
        <Loading rows={3} />
      ) : (
        <div class="access">
          <WaitingDevicesPanel />
          <JoinTokensPanel />
          <KeysPanel />
          <TenantsPanel />
          <AuditPanel />
        </div>
      )}
    </Section>
  );
}
