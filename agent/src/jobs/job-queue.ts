import type { JobId, VariantId } from '@fleetgate/shared/ids';
import type { Job } from '@fleetgate/shared/protocol/job';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import { nextToStart, type Waiting } from './start-order.js';

export interface QueuedJob {
  readonly job: Job;
  readonly arrivedAt: UnixMs;
}

/** `duplicate`: delivered before, nothing is to be said. */
export type Admission =
  | { readonly kind: 'accepted'; readonly queued: QueuedJob; readonly position: number }
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'full'; readonly capacity: number };

/** Ids remembered against duplicates: many times what the queue holds, a few hundred kB at most. */
const REMEMBERED = 4096;

/**
 * Bounded admission: first come, first served, but for jobs of one variant that share slabs with what runs. Decides only;
 * time is given.
 */
export class JobQueue {
  readonly #capacity: number;
  readonly #waiting: (QueuedJob & Waiting)[] = [];
  /** In order of arrival, so that the first is the oldest. */
  readonly #seen = new Set<JobId>();

  /** `capacity`: jobs that may wait, those that run not counted. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** `busy`: whether every place to run is taken, so that the job has to wait. */
  offer(job: Job, now: UnixMs, busy: boolean): Admission {
    if (!this.notice(job.jobId)) return { kind: 'duplicate' };
    if (busy && this.#waiting.length >= this.#capacity) return { kind: 'full', capacity: this.#capacity };
    const queued = { job, arrivedAt: now, passed: 0 };
    this.#waiting.push(queued);
    return { kind: 'accepted', queued, position: this.#waiting.length - 1 };
  }

  /** Remembers a job that is not to be queued; returns whether it was not heard of before. */
  notice(jobId: JobId): boolean {
    const isNew = !this.#seen.has(jobId);
    if (isNew) this.#remember(jobId);
    return isNew;
  }

  /** The oldest: `take` gives one of its variant. */
  get first(): QueuedJob | undefined {
    return this.#waiting[0];
  }

  /**
   * The oldest, or in its place another one of its variant of which `sharing` (slabs in common with what is in memory, 0..1)
   * says more; see `nextToStart`. Mixed answers keep their place: other devices wait for them.
   */
  take(sharing: (job: Job) => number = () => 0): QueuedJob | undefined {
    const { first } = this;
    if (first === undefined || first.job.kind === 'mix') return this.#waiting.shift();
    const { variantId } = first.job;
    const isAlike = (job: Job): boolean => job.variantId === variantId && job.kind !== 'mix';
    const next = nextToStart(this.#waiting, ({ job }) => (isAlike(job) ? sharing(job) : -1));
    return next === undefined ? undefined : this.remove(next.job.jobId);
  }

  /** Takes a waiting job out; undefined when it does not wait (any more). */
  remove(jobId: JobId): QueuedJob | undefined {
    const index = this.#waiting.findIndex((queued) => queued.job.jobId === jobId);
    return index < 0 ? undefined : this.#waiting.splice(index, 1)[0];
  }

  waitingFor(variantId: VariantId): boolean {
    return this.#waiting.some((queued) => queued.job.variantId === variantId);
  }

  #remember(jobId: JobId): void {
    this.#seen.add(jobId);
    const [oldest] = this.#seen;
    if (this.#seen.size > REMEMBERED && oldest !== undefined) this.#seen.delete(oldest);
  }
}
