import { FleetError } from '@fleetgate/shared/errors';
import type { ClassId, JobId, VariantId } from '@fleetgate/shared/ids';
import type { Job, JobName, JobOut } from '@fleetgate/shared/protocol/job';
import { toMessageError } from '@fleetgate/shared/protocol/version';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { Slots } from '../engine/slots.js';
import { ActiveJob, type JobSurroundings } from './active-job.js';
import { JobQueue } from './job-queue.js';
import { JobStream } from './job-stream.js';
import { mayStart } from './places.js';

/** Longest wait for a variant's jobs before it is unloaded under them. */
const DRAINING = milliseconds(120_000);

export interface JobRunnerOptions extends Omit<JobSurroundings, 'turns'> {
  /** Jobs on the engine at once. */
  readonly concurrency: number;
  /** Jobs that may wait besides. */
  readonly capacity: number;
  readonly emit: (job: JobName, out: JobOut) => void;
  /** Of the slabs that a prompt of one class uses, the share that one of the other class has in memory; 0..1. */
  readonly sharing?: (variantId: VariantId, one: ClassId, other: ClassId) => number;
}

/** Runs jobs on the engine: a bounded queue, `concurrency` at once, exactly one end for each. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #queue: JobQueue;
  /** Waiting and running. */
  readonly #jobs = new Map<JobId, ActiveJob>();
  readonly #running = new Set<ActiveJob>();
  /** Class of the job that was last started of each variant. */
  readonly #lastClass = new Map<VariantId, ClassId>();
  readonly #turns = new Slots<string>(['the engine']);
  readonly #idleWaiters = new Set<() => void>();
  #outputTokens = 0;
  #stopped = false;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#queue = new JobQueue(options.capacity);
  }

  get queuedJobs(): number {
    return this.#queue.length;
  }

  get runningJobs(): number {
    return this.#running.size;
  }

  /** Tokens given out since the start. */
  get outputTokens(): number {
    return this.#outputTokens;
  }

  accept(job: Job): void {
    const { clock } = this.#options;
    const busy = this.#queue.length > 0 || !this.#mayStart(job);
    const admission = this.#queue.offer(job, clock.now(), busy);
    if (admission.kind === 'duplicate') return;
    const stream = this.#stream(job);
    if (admission.kind === 'full') {
      const { capacity } = admission;
      refuse(stream, new FleetError('job.queue-full', `${capacity} jobs wait, expected fewer`, { retryable: true }));
      return;
    }
    if (this.#stopped || !this.#options.serves(job.variantId)) {
      this.#queue.remove(job.jobId);
      const what = this.#stopped ? 'the agent shuts down' : `variant ${job.variantId} is not resident`;
      refuse(stream, new FleetError('job.rejected', what, { retryable: true }));
      return;
    }
    const active = new ActiveJob(
      admission.queued,
      stream,
      { ...this.#options, turns: this.#turns },
      {
        onTokens: (tokens) => (this.#outputTokens += tokens),
        onEnd: () => this.#onEnd(job.jobId),
      },
    );
    this.#jobs.set(job.jobId, active);
    stream.accepted(this.#running.size + admission.position);
    this.#fill();
  }

  /** Answers a job whose message could not be read, so that another device is asked at once. */
  refuseUnread(job: JobName, { message }: FleetError): void {
    if (!this.#queue.notice(job.jobId)) return;
    const error = new FleetError('job.unreadable', `the job cannot be read: ${message}`, { retryable: true });
    refuse(this.#stream(job), error);
  }

  /** The token chosen for a step of a mixed answer; unknown ids are ignored (it may have ended just now). */
  proceed(jobId: JobId, step: number, token: number): void {
    this.#jobs.get(jobId)?.proceed(step, token);
  }

  /** Ends a job as cancelled; unknown ids are ignored (it may have ended just now). */
  cancel(jobId: JobId): void {
    this.#jobs.get(jobId)?.stop('cancelled');
  }

  /** Ends every job as cancelled: nobody listens any more. */
  cancelAll(): void {
    for (const active of this.#jobs.values()) active.stop('cancelled');
  }

  /** Resolves when no job of the variant waits or runs, after at most two minutes, or when `signal` aborts. */
  async drain(variantId: VariantId, signal: AbortSignal): Promise<void> {
    const until = this.#options.clock.now() + DRAINING;
    const uses = () => [...this.#jobs.values()].some(({ job }) => job.variantId === variantId);
    while (uses() && !signal.aborted && this.#options.clock.now() < until) {
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(DRAINING, resolve);
        const wake = () => {
          cancel();
          this.#idleWaiters.delete(wake);
          resolve();
        };
        this.#idleWaiters.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }

  /** Ends all jobs as failed (retryable) and takes no more. Bounded by a few seconds. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const active of this.#jobs.values()) active.stop('shutdown');
    for (let tries = 0; this.#jobs.size > 0 && tries < this.#options.capacity + this.#options.concurrency; tries++) {
      await new Promise<void>((resolve) => {
        this.#idleWaiters.add(resolve);
        if (this.#jobs.size === 0) resolve();
      });
    }
  }

  #fill(): void {
    for (;;) {
      const queued = this.#queue.first;
      if (queued === undefined || !this.#mayStart(queued.job)) return;
      const next = this.#queue.take((job) => this.#sharing(job));
      const active = next === undefined ? undefined : this.#jobs.get(next.job.jobId);
      if (active === undefined) continue;
      const { variantId, classId } = active.job;
      if (classId !== undefined) this.#lastClass.set(variantId, classId);
      this.#running.add(active);
      void active.run().finally(() => {
        this.#running.delete(active);
        this.#fill();
      });
    }
  }

  #mayStart(job: Job): boolean {
    const running = [...this.#running].map((active) => active.job);
    const { concurrency, engine } = this.#options;
    return mayStart(job, running, { concurrency, ofOneVariant: engine.kind === 'llama' });
  }

  /** With what runs of its variant, else with what ran last: its slabs are still there. */
  #sharing({ variantId, classId }: Job): number {
    const { sharing } = this.#options;
    if (sharing === undefined || classId === undefined) return 0;
    const running = [...this.#running].flatMap(({ job }) => (job.variantId === variantId ? [job.classId] : []));
    const there = (running.length > 0 ? running : [this.#lastClass.get(variantId)]).filter((one) => one !== undefined);
    return there.reduce((sum, one) => sum + sharing(variantId, classId, one), 0) / Math.max(1, there.length);
  }

  #onEnd(jobId: JobId): void {
    this.#queue.remove(jobId);
    this.#jobs.delete(jobId);
    for (const wake of this.#idleWaiters) wake();
    this.#idleWaiters.clear();
  }

  #stream({ jobId, replica }: JobName): JobStream {
    const job = { jobId, replica };
    return new JobStream(jobId, this.#options.clock, (out) => this.#options.emit(job, out));
  }
}

function refuse(stream: JobStream, error: FleetError): void {
  stream.end({ kind: 'failed', error: toMessageError(error) });
}
