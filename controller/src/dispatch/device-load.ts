import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import { elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import { concurrencyOf, type Device } from '../fleet/device.js';

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
  readonly jobId: JobId;
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
/** Nothing to do. */
export const IDLE: DeviceLoad = { occupied: 0, freeIn: milliseconds(0), foreign: 0 };

/**
 * Which jobs are at which device, as the dispatcher knows it. Residency is not occupancy: a device may host a variant
 * and have a queue before it.
 */
export class DeviceLoads {
  readonly #byDevice = new Map<DeviceId, Jobs>();

  add(device: DeviceId, job: JobId, predicted: Milliseconds, now: UnixMs): void {
    const entry = this.#byDevice.get(device) ?? { jobs: new Map(), changedAt: now, endedAt: undefined, isGone: false };
    entry.jobs.set(job, { jobId: job, sentAt: now, predicted });
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

  /** Whether it has nothing to do, as far as is known. */
  isIdle(device: Device): boolean {
    const entry = this.#byDevice.get(device.id);
    return (entry === undefined || entry.jobs.size === 0) && reportedJobs(device, entry?.changedAt) === 0;
  }

  /** `isBehind`: of our own jobs there, those that would wait for a new one. */
  loadOf(device: Device, now: UnixMs, isBehind?: (job: JobId) => boolean): DeviceLoad {
    const entry = this.#byDevice.get(device.id);
    const own = entry?.jobs.size ?? 0;
    const foreign = Math.max(0, reportedJobs(device, entry?.changedAt) - own);
    if (own + foreign === 0) return IDLE;
    const freeIn = entry === undefined ? 0 : timeToFree(entry, concurrencyOf(device), now, isBehind);
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
  isBehind: ((job: JobId) => boolean) | undefined,
): number {
  if (jobs.size < concurrency) return 0;
  // When each place is free, relative to now.
  const free = new Float64Array(concurrency).fill(-Infinity);
  if (endedAt !== undefined) free[0] = elapsed(now, endedAt);
  let next = soonest(free);
  for (const job of jobs.values()) {
    if (isBehind?.(job.jobId) === true) continue;
    const begins = Math.max(elapsed(now, job.sentAt), free[next] ?? 0);
    free[next] = Math.max(0, begins + job.predicted);
    next = soonest(free);
  }
  return Math.max(0, free[next] ?? 0);
}

/** The place that is free first. */
function soonest(free: Float64Array): number {
  let best = 0;
  for (let at = 1; at < free.length; at++) if ((free[at] ?? 0) < (free[best] ?? 0)) best = at;
  return best;
}

/** Jobs that the device's telemetry counts; a sample taken before our own last change there says nothing of now. */
function reportedJobs(device: Device, changedAt: UnixMs | undefined): number {
  if (device.lastSampleAt === undefined) return 0;
  if (changedAt !== undefined && device.lastSampleAt <= changedAt) return 0;
  return (device.last.queuedJobs ?? 0) + (device.last.runningJobs ?? 0);
}
