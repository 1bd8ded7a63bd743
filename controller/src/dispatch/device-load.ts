import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import { elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Device } from '../fleet/device.js';

/** Work that a device has before a new job would start. */
export interface DeviceLoad {
  /** Jobs running or waiting there. */
  readonly occupied: number;
  /** Predicted time until our own jobs there leave room for another to start. */
  readonly freeIn: Milliseconds;
  /** Of `occupied`, jobs that are not ours (measuring, or of a controller that crashed). */
  readonly foreign: number;
}

interface SentJob {
  readonly sentAt: UnixMs;
  readonly predicted: Milliseconds;
}

interface Jobs {
  /** In the order sent. */
  readonly jobs: Map<JobId, SentJob>;
  changedAt: UnixMs;
  /** When a job last ended: the next one began then. */
  endedAt: UnixMs | undefined;
  /** The device has left the fleet: forgotten with its last job. */
  isGone: boolean;
}

const NONE: readonly JobId[] = [];

/**
 * Which jobs are at which device, as the dispatcher knows it. Residency is not occupancy: a device may host a variant
 * and have a queue before it.
 */
export class DeviceLoads {
  readonly #byDevice = new Map<DeviceId, Jobs>();

  add(device: DeviceId, job: JobId, predicted: Milliseconds, now: UnixMs): void {
    const entry = this.#byDevice.get(device) ?? { jobs: new Map(), changedAt: now, endedAt: undefined, isGone: false };
    entry.jobs.set(job, { sentAt: now, predicted });
    entry.changedAt = now;
    entry.isGone = false;
    this.#byDevice.set(device, entry);
  }

  /** Idempotent. */
  release(device: DeviceId, job: JobId, now: UnixMs): void {
    const entry = this.#byDevice.get(device);
    if (entry?.jobs.delete(job) !== true) return;
    entry.changedAt = now;
    entry.endedAt = now;
    if (entry.isGone) this.forget(device);
  }

  jobsAt(device: DeviceId): Iterable<JobId> {
    return this.#byDevice.get(device)?.jobs.keys() ?? NONE;
  }

  countAt(device: DeviceId): number {
    return this.#byDevice.get(device)?.jobs.size ?? 0;
  }

  /** Jobs at all devices. */
  get total(): number {
    let total = 0;
    for (const { jobs } of this.#byDevice.values()) total += jobs.size;
    return total;
  }

  /** Devices that something is known of. */
  get devices(): number {
    return this.#byDevice.size;
  }

  /** Forgets a device that has left the fleet, as soon as its jobs are released. */
  forget(device: DeviceId): void {
    const entry = this.#byDevice.get(device);
    if (entry === undefined) return;
    entry.isGone = true;
    if (entry.jobs.size === 0) this.#byDevice.delete(device);
  }

  /** `isBehind`: of our own jobs there, those that would wait for a new one. */
  loadOf(device: Device, now: UnixMs, isBehind: (job: JobId) => boolean = () => false): DeviceLoad {
    const entry = this.#byDevice.get(device.id);
    const own = entry?.jobs.size ?? 0;
    const freeIn = entry === undefined ? 0 : timeToFree(entry, device.reported?.concurrency ?? 1, now, isBehind);
    const foreign = Math.max(0, reportedJobs(device, entry?.changedAt) - own);
    return { occupied: own + foreign, freeIn: milliseconds(freeIn), foreign };
  }
}

/**
 * Plays the queue forward: jobs begin in the order sent, `concurrency` at once, the first not before a job last ended. One
 * that overruns its prediction is taken to end now.
 */
function timeToFree(
  { jobs, endedAt }: Jobs,
  concurrency: number,
  now: UnixMs,
  isBehind: (job: JobId) => boolean,
): number {
  if (jobs.size < concurrency) return 0;
  // When each place is free, relative to now.
  const free = Array.from({ length: concurrency }, () => -Infinity);
  if (endedAt !== undefined) free[0] = elapsed(now, endedAt);
  for (const [job, { sentAt, predicted }] of jobs) {
    if (isBehind(job)) continue;
    const next = free.indexOf(Math.min(...free));
    const begins = Math.max(elapsed(now, sentAt), free[next] ?? 0);
    free[next] = Math.max(0, begins + predicted);
  }
  return Math.max(0, Math.min(...free));
}

/** Jobs that the device's telemetry counts; a sample taken before our own last change there says nothing of now. */
function reportedJobs(device: Device, changedAt: UnixMs | undefined): number {
  if (device.lastSampleAt === undefined) return 0;
  if (changedAt !== undefined && device.lastSampleAt <= changedAt) return 0;
  return (device.last.queuedJobs ?? 0) + (device.last.runningJobs ?? 0);
}
