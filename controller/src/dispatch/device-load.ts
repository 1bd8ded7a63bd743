import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import { elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Device } from '../fleet/device.js';

/** Work that a device has before a new job would start. */
export interface DeviceLoad {
  /** Jobs running or waiting there. */
  readonly occupied: number;
  /** Predicted time that our own jobs there still need, one after the other. */
  readonly backlog: Milliseconds;
  /** Of `occupied`, jobs that are not ours (measuring, or of a controller that crashed). */
  readonly foreign: number;
}

interface Jobs {
  readonly jobs: Map<JobId, { readonly startedAt: UnixMs; readonly predicted: Milliseconds }>;
  changedAt: UnixMs;
}

const NONE: readonly JobId[] = [];

/**
 * Which jobs are at which device, as the dispatcher knows it. Residency is not occupancy: a device may host a variant
 * and have a queue before it.
 */
export class DeviceLoads {
  readonly #byDevice = new Map<DeviceId, Jobs>();

  add(device: DeviceId, job: JobId, predicted: Milliseconds, now: UnixMs): void {
    const entry = this.#byDevice.get(device) ?? { jobs: new Map(), changedAt: now };
    entry.jobs.set(job, { startedAt: now, predicted });
    entry.changedAt = now;
    this.#byDevice.set(device, entry);
  }

  /** Idempotent. */
  release(device: DeviceId, job: JobId, now: UnixMs): void {
    const entry = this.#byDevice.get(device);
    if (entry?.jobs.delete(job) === true) entry.changedAt = now;
  }

  jobsAt(device: DeviceId): Iterable<JobId> {
    return this.#byDevice.get(device)?.jobs.keys() ?? NONE;
  }

  /** Jobs at all devices. */
  get total(): number {
    let total = 0;
    for (const { jobs } of this.#byDevice.values()) total += jobs.size;
    return total;
  }

  /** Forgets a device that has left the fleet; its jobs have to be released before. */
  forget(device: DeviceId): void {
    if (this.#byDevice.get(device)?.jobs.size === 0) this.#byDevice.delete(device);
  }

  loadOf(device: Device, now: UnixMs): DeviceLoad {
    const entry = this.#byDevice.get(device.id);
    const own = entry?.jobs.size ?? 0;
    let backlog = 0;
    if (entry !== undefined) {
      for (const { startedAt, predicted } of entry.jobs.values()) {
        backlog += Math.max(0, predicted - elapsed(startedAt, now));
      }
    }
    const foreign = Math.max(0, reportedJobs(device, entry?.changedAt) - own);
    return { occupied: own + foreign, backlog: milliseconds(backlog), foreign };
  }
}

/** Jobs that the device's telemetry counts; a sample taken before our own last change there says nothing of now. */
function reportedJobs(device: Device, changedAt: UnixMs | undefined): number {
  if (device.lastSampleAt === undefined) return 0;
  if (changedAt !== undefined && device.lastSampleAt <= changedAt) return 0;
  return (device.last.queuedJobs ?? 0) + (device.last.runningJobs ?? 0);
}
