/** From an SSE frame of `/api/v1/events` to a LiveEvent. Pure. */
import type { LiveEvent } from '@fleetgate/shared/api/operations';

import type { SseFrame } from './sse.js';

/** The field that each kind of event must bring for the page to use it. */
const NEEDS = {
  device: 'device',
  'device-removed': 'id',
  telemetry: 'last',
  plan: 'plan',
  budgets: 'budgets',
  request: 'request',
  'device-event': 'event',
  status: 'status',
} as const satisfies Record<LiveEvent['type'], string>;

/** Null for a frame that is no event of ours: malformed, or of a type that this page does not know yet. */
export function parseLiveEvent(frame: SseFrame): LiveEvent | null {
  let body: unknown;
  try {
    body = JSON.parse(frame.data);
  } catch {
    return null;
  }
  if (typeof body !== 'object' || body === null) return null;
  const type = 'type' in body && typeof body.type === 'string' ? body.type : frame.event;
  if (!Object.hasOwn(NEEDS, type)) return null;
  const needed = NEEDS[type as LiveEvent['type']];
  if (!(needed in body)) return null;
  return { ...body, type } as LiveEvent;
}
