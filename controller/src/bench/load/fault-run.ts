import { setTimeout as sleep } from 'node:timers/promises';

import type { DeviceView, ListBody } from '@fleetgate/shared/api/operations';

import type { Progress } from '../bench-report.js';
import type { HttpFleetClient } from '../http-fleet-client.js';
import { type Fault, victimOf } from './faults.js';
import type { LoadFleet } from './load-fleet.js';

const LOOK_EVERY_MS = 500;
/** From the end of a fault on. */
const LONGEST_RETURN_MS = 120_000;

/** What became of a fault. */
export interface Befallen {
  readonly kind: Fault['kind'];
  readonly device: string;
  /** Since the start of the phase. */
  readonly atS: number;
  readonly forS: number;
  /** Until it was seen offline, since the fault began; undefined when it never was. */
  readonly offlineAfterS: number | undefined;
  /** Until it was seen online in a session of its own, since the fault ended; undefined when it did not come back. */
  readonly backAfterS: number | undefined;
}

/** Lets the faults of a phase befall its agents; resolves when the last is over and its agent is back, or is given up. */
export async function runFaults(
  faults: readonly Fault[],
  fleet: LoadFleet,
  client: HttpFleetClient,
  progress: Progress,
  signal: AbortSignal,
): Promise<readonly Befallen[]> {
  const startedAt = performance.now();
  const befallen: Befallen[] = [];
  for (const fault of faults) {
    await sleep(Math.max(0, startedAt + fault.atMs - performance.now()), undefined, { signal });
    const serving = (await client.get<ListBody<DeviceView>>('/api/v1/devices')).items
      .filter((one) => one.state === 'online' && one.variants.some(({ residency }) => residency === 'resident'))
      .map(({ id }) => id)
      .toSorted();
    const device = victimOf(fault, serving, befallen.at(-1)?.device);
    if (device === undefined) continue;
    progress(`load: ${fault.kind} ${device} for ${(fault.forMs / 1000).toFixed(0)} s`);
    befallen.push(await befall(fault, device, (performance.now() - startedAt) / 1000, fleet, client, signal));
  }
  return befallen;
}

async function befall(
  fault: Fault,
  device: string,
  atS: number,
  fleet: LoadFleet,
  client: HttpFleetClient,
  signal: AbortSignal,
): Promise<Befallen> {
  const view = () => client.get<DeviceView>(`/api/v1/devices/${device}`).catch(() => undefined);
  const before = await view();
  const beganAt = performance.now();
  const endsAt = beganAt + fault.forMs;
  if (fault.kind === 'kill') fleet.kill(device, fault.forMs);
  else fleet.freeze(device);
  let offlineAt: number | undefined;
  let backAt: number | undefined;
  let frozen = fault.kind === 'freeze';
  try {
    while (backAt === undefined && performance.now() < endsAt + LONGEST_RETURN_MS) {
      await sleep(LOOK_EVERY_MS, undefined, { signal });
      if (frozen && performance.now() >= endsAt) {
        fleet.thaw(device);
        frozen = false;
      }
      const now = await view();
      if (now?.state === 'offline') offlineAt ??= performance.now();
      const isNewSession = now !== undefined && before !== undefined && now.epoch > before.epoch;
      const isBack = now?.state === 'online' && (isNewSession || (fault.kind === 'freeze' && offlineAt === undefined));
      if (isBack && performance.now() >= endsAt && !frozen) backAt = performance.now();
    }
  } finally {
    if (frozen) fleet.thaw(device);
  }
  return {
    kind: fault.kind,
    device,
    atS,
    forS: fault.forMs / 1000,
    offlineAfterS: offlineAt === undefined ? undefined : (offlineAt - beganAt) / 1000,
    backAfterS: backAt === undefined ? undefined : (backAt - endsAt) / 1000,
  };
}
