import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import type { Milliseconds, UnixMs } from '@fleetgate/shared/units/quantity';

/** A job that waits here for its device, and what decides when it is its turn. */
export interface HeldJob {
  readonly jobId: JobId;
  readonly deviceId: DeviceId;
  /** When its answer is due: by the client's limit or else by the bound of its class. */
  readonly dueAt: UnixMs;
  readonly tenant: string;
  /** Time that it will occupy the device. */
  readonly predicted: Milliseconds;
}

interface Tenant {
  /** Device time, beyond that of whoever had least. */
  readonly given: number;
  readonly waiting: number;
}

/** Tenants whose share is remembered though none of their jobs waits: their names are the clients' to make up. */
const MOST_REMEMBERED = 256;

/**
 * Jobs that wait for a device, ordered here rather than in the agent's queue, first come first served: tenants get equal shares of
 * the devices' time (start-time fair queueing), and of one tenant the earliest deadline goes first (EDF), after which those come
 * that are late already: one that cannot be saved must not make the next one late.
 *
 * As bounded as the dispatcher's queues are. Pure but for its own state; whoever holds a job takes it out again.
 */
export class HeldJobs {
  readonly #byDevice = new Map<DeviceId, HeldJob[]>();
  readonly #tenants = new Map<string, Tenant>();
  /** Of the tenant that was served last. */
  #served = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(job: HeldJob): void {
    const queue = this.#byDevice.get(job.deviceId);
    if (queue === undefined) this.#byDevice.set(job.deviceId, [job]);
    else queue.push(job);
    this.#size += 1;
    const known = this.#tenants.get(job.tenant);
    // Who has not waited for a while begins level with the others, not with what was saved.
    this.#tenants.set(job.tenant, { given: this.#givenTo(job.tenant), waiting: (known?.waiting ?? 0) + 1 });
  }

  /** Takes a job out, wherever it waits; false when it does not. */
  remove({ deviceId, jobId }: Pick<HeldJob, 'deviceId' | 'jobId'>): boolean {
    const queue = this.#byDevice.get(deviceId);
    const at = queue?.findIndex((job) => job.jobId === jobId) ?? -1;
    if (queue === undefined || at < 0) return false;
    const removed = queue.splice(at, 1);
    if (queue.length === 0) this.#byDevice.delete(deviceId);
    this.#size -= 1;
    const [taken] = removed;
    if (taken !== undefined) this.#leave(taken.tenant);
    return true;
  }

  /** Whose turn it is at a device; it stays until it is removed. */
  next(deviceId: DeviceId, now: UnixMs): HeldJob | undefined {
    const queue = this.#byDevice.get(deviceId);
    if (queue === undefined) return undefined;
    return queue.reduce((best, job) => (this.isBefore(job, best, now) ? job : best));
  }

  /** A job's tenant is given its time. */
  count({ tenant, predicted }: HeldJob): void {
    const before = this.#givenTo(tenant);
    this.#served = before;
    const waiting = this.#tenants.get(tenant)?.waiting ?? 0;
    this.#tenants.set(tenant, { given: before + predicted, waiting });
  }

  at(deviceId: DeviceId): readonly HeldJob[] {
    return this.#byDevice.get(deviceId) ?? [];
  }

  /** Most urgent jobs of other devices, at most `most`. O(n log n). */
  elsewhere(deviceId: DeviceId, most: number, now: UnixMs): readonly HeldJob[] {
    const others = [...this.#byDevice].flatMap(([id, queue]) => (id === deviceId ? [] : queue));
    return others.sort((a, b) => (this.isBefore(a, b, now) ? -1 : 1)).slice(0, most);
  }

  /** Whether a job that comes now would have its turn before one that waits; of equal ones whoever waits is first. */
  isBefore(a: Pick<HeldJob, 'dueAt' | 'tenant'>, b: Pick<HeldJob, 'dueAt' | 'tenant'>, now: UnixMs): boolean {
    const share = this.#givenTo(a.tenant) - this.#givenTo(b.tenant);
    if (a.tenant !== b.tenant && share !== 0) return share < 0;
    const late = Number(a.dueAt < now) - Number(b.dueAt < now);
    return late === 0 ? a.dueAt < b.dueAt : late < 0;
  }

  #givenTo(tenant: string): number {
    return Math.max(this.#served, this.#tenants.get(tenant)?.given ?? 0);
  }

  /** What a tenant was given counts until the others have had as much; of those who do not wait, no more than so many. */
  #leave(tenant: string): void {
    const known = this.#tenants.get(tenant);
    if (known === undefined) return;
    this.#tenants.set(tenant, { ...known, waiting: known.waiting - 1 });
    if (this.#tenants.size <= MOST_REMEMBERED) return;
    for (const [name, { waiting }] of this.#tenants) if (waiting === 0) this.#tenants.delete(name);
  }
}
