import { AccessSection } from './access/access-section.js';
import { ChatSection } from './chat/chat-section.js';
import { FleetSection } from './fleet/fleet-section.js';
import { Header, Tabs } from './parts/header.js';
import { KeyDialog } from './parts/key-dialog.js';
import { LinkBanner } from './parts/link-banner.js';
import { Guard } from './parts/guard.js';
import { PlanSection } from './plan/plan-section.js';
import { usePage } from './page.js';
import { RecordDialog } from './record/record-dialog.js';
import { RequestsSection } from './requests/requests-section.js';
import { RolloutsSection } from './rollouts/rollouts-section.js';

/** The sections in the order in which they are drawn; the navigation names the same. */
const SECTIONS = [
  { id: 'fleet', title: 'Fleet', View: FleetSection },
  { id: 'chat', title: 'Chat', View: ChatSection },
  { id: 'plan', title: 'Plan', View: PlanSection },
  { id: 'requests', title: 'Requests', View: RequestsSection },
  { id: 'rollouts', title: 'Rollouts', View: RolloutsSection },
  { id: 'access', title: 'Access', View: AccessSection },
] as const;

export function App() {
  const { store } = usePage();
  const stale = store.connection.value.phase === 'lost';
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <Header sections={SECTIONS} />
      <LinkBanner />
      <main id="main" class={stale ? 'stale' : ''} tabIndex={-1}>
        {SECTIONS.map(({ id, title, View }) => (
          <Guard key={id} title={title}>
            <View />
          </Guard>
        ))}
      </main>
      <Footer />
      <Tabs sections={SECTIONS} />
      <RecordDialog />
      <KeyDialog />
    </>
  );
}

function Footer() {
  const status = usePage().store.fleet.value.status;
  return (
    <footer class="foot">
      {status === null ? null : (
        <>
          <span>Fleetgate {status.version}</span>
          <span>broker {status.broker}</span>
          <span>
            gate {status.gate.state}
            {status.gate.trainedOn > 0 ? `, trained on ${status.gate.trainedOn} prompts` : ''}
          </span>
          <code>{status.mqttUrl}</code>
        </>
      )}
      <a href="api/openapi.json">OpenAPI</a>
      <a href="metrics">Metrics</a>
    </footer>
  );
}
