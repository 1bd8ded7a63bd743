import { setTimeout as sleep } from 'node:timers/promises';

import type { HttpFleetClient } from '../http-fleet-client.js';
import { metricSum } from '../metrics-text.js';

const LOOK_EVERY_MS = 250;
/** Longer than the controller gives a request. */
const LONGEST_DRAIN_MS = 330_000;
/** From the end of the last job until devices have said so in their telemetry. */
const SETTLE_MS = 2_000;

/** Until nothing is under way, by its metrics; false when that does not come. */
export async function untilIdle(client: HttpFleetClient, signal: AbortSignal): Promise<boolean> {
  const until = performance.now() + LONGEST_DRAIN_MS;
  for (;;) {
    const metrics = await client.text('/metrics');
    const left = metricSum(metrics, 'fleetgate_requests_in_flight') + metricSum(metrics, 'fleetgate_jobs');
    if (left === 0) break;
    if (performance.now() > until) return false;
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
  await sleep(SETTLE_MS, undefined, { signal });
  return true;
}
