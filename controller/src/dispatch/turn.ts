import { after } from '@fleetgate/shared/units/quantity';

import { presentReport } from '../fleet/device.js';
import type { DispatcherParts } from './dispatcher-parts.js';
import type { Turn } from './job-runs.js';
import type { Request } from './request.js';
import type { Choice } from './request-events.js';

/** What decides when it is a request's turn at a busy device: its deadline, and who asks. */
export function turnOf({ config, policy }: DispatcherParts, { prompt, receivedAt, score }: Request): Turn {
  const bound = score === undefined ? undefined : policy()?.limits.get(score.classId)?.latencyMean;
  const limit = prompt.limits.latency ?? bound ?? config.requestTimeout;
  return { dueAt: after(receivedAt, limit), tenant: prompt.tenant ?? '' };
}

/** Whether a device has, and is to have, what was chosen: plans change while a job waits. */
export function isServed({ fleet, policy }: DispatcherParts, { deviceId, variantId }: Choice): boolean {
  if (policy()?.placements.get(deviceId)?.has(variantId) !== true) return false;
  const device = fleet.view.get(deviceId);
  const reported = device && presentReport(device);
  return (
    reported?.engine.state === 'ready' &&
    reported.variants.some((one) => one.variantId === variantId && one.residency === 'resident')
  );
}
