import type { ListBody, RequestView } from '@fleetgate/shared/api/operations';

import type { HttpFleetClient } from '../http-fleet-client.js';
import type { KeptRecord } from '../load/reconcile.js';
import { keptOf } from '../load/record-sweep.js';

const PAGE = 500;

/**
 * Every decision record that the controller keeps, by its trace. Read whole each time: while clocks jump, what is newest
 * by its date need not have come last. Throws as `HttpFleetClient.get` does.
 */
export async function recordsByTrace(client: HttpFleetClient): Promise<ReadonlyMap<string, readonly KeptRecord[]>> {
  const records = new Map<string, KeptRecord[]>();
  let before: string | undefined;
  for (;;) {
    const cursor = before === undefined ? '' : `&before=${before}`;
    const { items } = await client.get<ListBody<RequestView>>(`/api/v1/requests?limit=${PAGE}${cursor}`);
    for (const record of items.map((item) => keptOf(item))) {
      if (record.traceId === undefined) continue;
      const same = records.get(record.traceId);
      if (same === undefined) records.set(record.traceId, [record]);
      else same.push(record);
    }
    before = items.at(-1)?.id;
    if (items.length < PAGE) return records;
  }
}
