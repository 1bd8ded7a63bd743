import { Loading, Section } from '../parts/section.js';
import { usePage } from '../page.js';
import { ProposalsPanel } from './proposals-panel.js';
import { RolloutsPanel } from './rollouts-panel.js';

/** What replaces what, wave by wave, and what the demand proposes. */
export function RolloutsSection() {
  const { store } = usePage();
  return (
    <Section id="rollouts" title="Rollouts">
      {!store.loaded.value ? (
        <Loading rows={2} />
      ) : (
        <div class="rollouts">
          <RolloutsPanel />
          <ProposalsPanel />
        </div>
      )}
    </Section>
  );
}
