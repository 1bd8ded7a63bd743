import type { DeviceId } from '@fleetgate/shared/ids';
import { type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Device } from '../fleet/device.js';

/** A packet that a radio loses twice comes about 3 s late: nothing is suspected sooner. */
const LEAST_MS = 4_000;
/** Times its usual longest silence, and what a prompt is predicted to take: a hot device needs twice as long. */
const SLACK = 2;
/** Of the pace of telemetry, which is apart from the engine: a busy machine is not that late with it. */
const OVERDUE = 1.2;
/** Likewise, and no message of a job has come either: whatever jobs do. */
const MOST_OVERDUE = 1.5;
/** Of the usual longest silence, left after one more message. */
const MEMORY = 0.98;
/** Between batches of telemetry of an agent that was not told another, ms. */
const HEARTBEAT_MS = 5_000;

export function heartbeatOf(device: Device | undefined): Milliseconds {
  return milliseconds(device?.desired?.telemetry.batchMs ?? HEARTBEAT_MS);
}

/** What is known of a device with jobs that says nothing. */
export interface SilenceFacts {
  /** Since it last said anything: telemetry, or a message of any of its jobs. */
  readonly silent: Milliseconds;
  /** Since its last telemetry. */
  readonly sinceTelemetry: Milliseconds;
  /** Between two batches of its telemetry. */
  readonly heartbeat: Milliseconds;
  /** Longest of its recent silences while it had jobs; undefined before the first message. */
  readonly usual: Milliseconds | undefined;
  /** Predicted times of the jobs that may be running there and have not said anything of their answers: prompts being read. */
  readonly reading: readonly Milliseconds[];
}

/**
 * Whether a device is to be suspected of having stopped: its telemetry is overdue, and its jobs have been silent for far
 * longer than they are. Long prompts, heat and memory that is swapped stop tokens only; what stops telemetry stops the agent.
 */
export function isSuspect({ heartbeat, reading, silent, sinceTelemetry, usual = heartbeat }: SilenceFacts): boolean {
  if (sinceTelemetry < OVERDUE * heartbeat) return false;
  const prompts = reading.reduce((sum, predicted) => sum + predicted, 0);
  return silent >= Math.min(MOST_OVERDUE * heartbeat, Math.max(LEAST_MS, SLACK * usual, SLACK * prompts));
}

/** The usual longest silence after a message that ended one of `silent`. */
export function usualSilence(
  usual: Milliseconds | undefined,
  silent: Milliseconds,
  heartbeat: Milliseconds,
): Milliseconds {
  return milliseconds(Math.max(silent, MEMORY * (usual ?? heartbeat)));
}

/**
 * Whether others than each device have said something since `since`: where nobody does, it is the broker, the network or
 * ourselves that fell silent. O(n) once.
 */
export function othersHeard(heardAt: ReadonlyMap<DeviceId, UnixMs>, since: UnixMs): (device: DeviceId) => boolean {
  const heard = new Set<DeviceId>();
  for (const [device, at] of heardAt) {
    if (at >= since) heard.add(device);
    if (heard.size > 1) break;
  }
  return (device) => heard.size > (heard.has(device) ? 1 : 0);
}
