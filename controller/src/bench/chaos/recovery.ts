import { setTimeout as sleep } from 'node:timers/promises';

import type { DeviceView, ListBody, StatusView } from '@fleetgate/shared/api/operations';

import type { HttpFleetClient } from '../http-fleet-client.js';
import type { HttpLoadClient } from '../load/http-load-client.js';
import type { Offered } from '../load/outcome.js';

const LOOK_EVERY_MS = 200;
/** Given up after that. */
const LONGEST_MS = 180_000;
const PROBE = { prompt: 'Say yes.', maxTokens: 4, streamed: false } as const;

/** Asks again and again until there is an answer; undefined where none comes. Every question is told by `asked`. */
export async function untilAnswered(
  load: HttpLoadClient,
  traceId: () => string,
  asked: (offered: Offered) => void,
  signal: AbortSignal,
): Promise<number | undefined> {
  return untilTrue(async () => {
    const offered = await load.offer(PROBE, traceId(), performance.now());
    asked(offered);
    return offered.outcome.kind === 'answered';
  }, signal);
}

/** Until the controller is ready and each of `devices` is online and has what it is to have; undefined: that does not come. */
export function untilWhole(
  client: HttpFleetClient,
  devices: readonly string[],
  signal: AbortSignal,
): Promise<number | undefined> {
  return untilTrue(async () => {
    const status = await client.get<StatusView>('/api/v1/status').catch(() => undefined);
    if (status?.ready !== true || status.broker !== 'connected') return false;
    const { items } = await client
      .get<ListBody<DeviceView>>('/api/v1/devices')
      .catch(() => ({ items: [] as readonly DeviceView[] }));
    return devices.every((name) => items.some((device) => device.id === name && isWhole(device)));
  }, signal);
}

function isWhole({ state, engine, settled, desiredGeneration, observedGeneration }: DeviceView): boolean {
  return state === 'online' && engine?.state === 'ready' && settled && observedGeneration === desiredGeneration;
}

/** How long it took, ms. */
async function untilTrue(look: () => Promise<boolean>, signal: AbortSignal): Promise<number | undefined> {
  const from = performance.now();
  while (performance.now() - from < LONGEST_MS) {
    if (await look()) return performance.now() - from;
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
  return undefined;
}
