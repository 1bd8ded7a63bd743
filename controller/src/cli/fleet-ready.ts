import type { DeviceView, ListBody, PlanView, StatusView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';

import type { Listening } from './local-fleet.js';

const POLL_MS = 300;
const READY_DEADLINE_MS = 5 * 60_000;

/** The active plan, once every device of the local fleet is there and holds what the plan places on it. */
export async function untilReady(
  listening: Listening,
  expected: number,
  say: (text: string) => void,
  over: AbortSignal,
  apiKey: string | undefined,
): Promise<PlanView | undefined> {
  const read = <T>(path: string): Promise<T | undefined> => readJson<T>(`${listening.httpUrl}/api/v1/${path}`, apiKey);
  const deadline = Date.now() + READY_DEADLINE_MS;
  const told = new Map<string, string>();
  while (Date.now() < deadline && !over.aborted) {
    const status = await read<StatusView>('status');
    const devices = (await read<ListBody<DeviceView>>('devices'))?.items ?? [];
    for (const device of devices) {
      const text = progressOf(device);
      if (told.get(device.id) !== text) say(`${device.id}: ${text}`);
      told.set(device.id, text);
    }
    if (status !== undefined && expected === 0) return undefined;
    if (status?.activePlanId != null && status.ready && devices.length >= expected) {
      const plan = await read<PlanView>(`plans/${status.activePlanId}`);
      if (plan !== undefined && isHeld(plan, devices)) return plan;
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
  if (over.aborted) return undefined;
  throw new FleetError('dispatch.no-plan', `no plan was active within ${READY_DEADLINE_MS / 60_000} minutes`, {
    hint: 'look at DIR/logs and at `fleetgate devices`',
  });
}

function progressOf(device: DeviceView): string {
  if (device.state !== 'online') return 'waiting for its agent';
  if (device.activity === 'measuring') return `measuring its experts (${device.measurements.length} done)`;
  if (device.activity === 'starting') return 'starting its engine';
  const resident = device.variants
    .filter((variant) => variant.residency === 'resident')
    .map((variant) => variant.variantId);
  return resident.length === 0 ? device.activity : `${device.activity}, holds ${resident.join(', ')}`;
}

function isHeld(plan: PlanView, devices: readonly DeviceView[]): boolean {
  return plan.placements.every((placement) =>
    devices.some(
      (device) =>
        device.id === placement.deviceId &&
        device.variants.some(
          (variant) => variant.variantId === placement.variantId && variant.residency === 'resident',
        ),
    ),
  );
}

async function readJson<T>(url: string, key: string | undefined): Promise<T | undefined> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(5000),
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    });
    return response.ok ? ((await response.json()) as T) : undefined;
  } catch {
    return undefined;
  }
}
