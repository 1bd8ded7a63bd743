import type { PlanView, StatusView } from '@fleetgate/shared/api/operations';

import type { ApiClient } from './api-client.js';

export function getPlan(client: ApiClient, id: string): Promise<PlanView> {
  return client.get<PlanView>(`/api/v1/plans/${encodeURIComponent(id)}`);
}

/** Null before the first plan is in force. */
export async function activePlanId(client: ApiClient): Promise<string | null> {
  return (await client.get<StatusView>('/api/v1/status')).activePlanId;
}
