import type { TenantView } from '@fleetgate/shared/api/access';

import { useList } from '../state/use-list.js';
import { ListPanel } from '../parts/list-panel.js';
import { TenantLimitForm } from './tenant-limit-form.js';

export function TenantsPanel() {
  const listing = useList<TenantView>('/api/v1/tenants');
  return (
    <ListPanel
      title="Tenants"
      listing={listing}
      none="No tenant has a limit or a key of its own."
      columns={['Tenant', 'Requests a minute', 'Tokens a minute', 'Keys']}
      row={(tenant) => (
        <tr key={tenant.name} data-tenant={tenant.name}>
          <td class="strong">{tenant.name}</td>
          <td>{tenant.requestsPerMinute ?? 'no limit'}</td>
          <td>{tenant.outputTokensPerMinute ?? 'no limit'}</td>
          <td>{tenant.keys}</td>
          <td />
        </tr>
      )}
    >
      <TenantLimitForm onSet={listing.refresh} />
    </ListPanel>
  );
}
