import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { JobId, VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Job, JobOut, JobUsage } from '@fleetgate/shared/protocol/job';
import type { PowerSource } from '@fleetgate/shared/protocol/twin';
import type { MessageError } from '@fleetgate/shared/protocol/version';
import { type Joules, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Engine } from '../engine/engine.js';
import { JobQueue, type QueuedJob } from './job-queue.js';
import { JobStream } from './job-stream.js';

/** Accounts for the energy above idle of whatever uses the engine between `start` and `stop`. */
export interface JobEnergy {
  start(id: string): void;
  stop(id: string): { readonly energy: Joules; readonly source: PowerSource };
}

/** How long an aborted job may take to stop before it is told to have ended. */
const STOPPING = milliseconds(2000);
/** Longest wait for a variant's jobs before it is unloaded under them. */
const DRAINING = milliseconds(120_000);

export interface JobRunnerOptions {
  readonly engine: Engine;
  /** Jobs on the engine at once. */
  readonly concurrency: number;
  /** Jobs that may wait besides. */
  readonly capacity: number;
  /** Whether the variant is resident and not on its way out. */
  readonly serves: (variantId: VariantId) => boolean;
  readonly energy: JobEnergy;
  readonly emit: (jobId: JobId, out: JobOut) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

interface ActiveJob {
  readonly queued: QueuedJob;
  readonly stream: JobStream;
  readonly abort: AbortController;
  /** Why it was aborted; decides how it ends. */
  stopped: 'cancelled' | 'expired' | 'shutdown' | undefined;
  startedAt: UnixMs | undefined;
  usedEnergy: { readonly energy: Joules; readonly source: PowerSource } | undefined;
  cancelTimer: () => void;
}

/** Runs jobs on the engine: a bounded queue, `concurrency` at once, exactly one end for each. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #queue: JobQueue;
  /** Waiting and running. */
  readonly #jobs = new Map<JobId, ActiveJob>();
  readonly #running = new Set<ActiveJob>();
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
    const { clock, emit, concurrency } = this.#options;
    const busy = this.#running.size >= concurrency;
    const admission = this.#queue.offer(job, clock.now(), busy);
    if (admission.kind === 'duplicate') return;
    const stream = new JobStream(job.jobId, clock, (out) => emit(job.jobId, out));
    const refuse = (error: FleetError) => stream.end({ kind: 'failed', error: told(error) });
    if (admission.kind === 'full') {
      const { capacity } = admission;
      refuse(new FleetError('job.queue-full', `${capacity} jobs wait, expected fewer`, { retryable: true }));
      return;
    }
    if (this.#stopped || !this.#options.serves(job.variantId)) {
      this.#queue.remove(job.jobId);
      const what = this.#stopped ? 'the agent shuts down' : `variant ${job.variantId} is not resident`;
      refuse(new FleetError('job.rejected', what, { retryable: true }));
      return;
    }
    const active: ActiveJob = {
      queued: admission.queued,
      stream,
      abort: new AbortController(),
      stopped: undefined,
      startedAt: undefined,
      usedEnergy: undefined,
      cancelTimer: clock.after(milliseconds(job.timeoutMs), () => this.#stop(active, 'expired')),
    };
    this.#jobs.set(job.jobId, active);
    stream.accepted(this.#running.size + admission.position);
    this.#fill();
  }

  /** Answers a job whose message could not be read, so that another device is asked at once. */
  refuseUnread(jobId: JobId, { message }: FleetError): void {
    if (!this.#queue.notice(jobId)) return;
    const error = new FleetError('job.unreadable', `the job cannot be read: ${message}`, { retryable: true });
    const stream = new JobStream(jobId, this.#options.clock, (out) => this.#options.emit(jobId, out));
    stream.end({ kind: 'failed', error: told(error) });
  }

  /** Ends a job as cancelled; unknown ids are ignored (it may have ended just now). */
  cancel(jobId: JobId): void {
    const active = this.#jobs.get(jobId);
    if (active !== undefined) this.#stop(active, 'cancelled');
  }

  /** Ends every job as cancelled: nobody listens any more. */
  cancelAll(): void {
    for (const active of this.#jobs.values()) this.#stop(active, 'cancelled');
  }

  /** Resolves when no job of the variant waits or runs, after at most two minutes, or when `signal` aborts. */
  async drain(variantId: VariantId, signal: AbortSignal): Promise<void> {
    const until = this.#options.clock.now() + DRAINING;
    const uses = () => [...this.#jobs.values()].some(({ queued }) => queued.job.variantId === variantId);
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
    for (const active of this.#jobs.values()) this.#stop(active, 'shutdown');
    for (let tries = 0; this.#jobs.size > 0 && tries < this.#options.capacity + this.#options.concurrency; tries++) {
      await new Promise<void>((resolve) => {
        this.#idleWaiters.add(resolve);
        if (this.#jobs.size === 0) resolve();
      });
    }
  }

  #fill(): void {
    while (this.#running.size < this.#options.concurrency) {
      const queued = this.#queue.take();
      if (queued === undefined) return;
      const active = this.#jobs.get(queued.job.jobId);
      if (active === undefined) continue;
      this.#running.add(active);
      void this.#run(active).finally(() => {
        this.#running.delete(active);
        this.#fill();
      });
    }
  }

  async #run(active: ActiveJob): Promise<void> {
    const { clock, energy, serves } = this.#options;
    const { job } = active.queued;
    active.startedAt = clock.now();
    if (!serves(job.variantId)) {
      const error = new FleetError('job.rejected', `variant ${job.variantId} was unloaded`, { retryable: true });
      this.#end(active, { error });
      return;
    }
    energy.start(job.jobId);
    try {
      await this.#generate(active, job);
    } catch (error) {
      this.#end(active, { error });
    } finally {
      this.#stopEnergy(active);
    }
  }

  async #generate(active: ActiveJob, job: Job): Promise<void> {
    const { engine } = this.#options;
    const { signal } = active.abort;
    if (job.kind === 'score') {
      const result = await engine.score(job.variantId, job.prompt, job.completion, signal);
      const usage = this.#usage(active, {
        promptTokens: result.promptTokens,
        outputTokens: result.scoredTokens,
        prefillMs: result.duration,
        decodeMs: 0,
      });
      if (active.stopped !== undefined) this.#end(active, { usage });
      else
        this.#finish(active, () =>
          active.stream.end({ kind: 'scored', bits: result.bits, bytes: result.bytes, usage }),
        );
      return;
    }
    const input =
      job.kind === 'chat'
        ? { kind: 'chat' as const, messages: job.messages }
        : { kind: 'complete' as const, prompt: job.prompt };
    const onText = (text: string, tokens: number) => {
      this.#outputTokens += tokens;
      active.stream.text(text, tokens);
    };
    const result = await engine.generate(job.variantId, input, job.sampling, onText, signal);
    const usage = this.#usage(active, {
      promptTokens: result.promptTokens,
      outputTokens: result.outputTokens,
      prefillMs: result.prefill,
      decodeMs: result.decode,
    });
    if (active.stopped !== undefined) this.#end(active, { usage });
    else if (result.finishReason === 'cancelled') {
      // The engine ended it by itself: its variant was unloaded.
      const error = new FleetError('job.rejected', `variant ${job.variantId} was unloaded`, { retryable: true });
      this.#end(active, { usage, error });
    } else {
      const { finishReason } = result;
      this.#finish(active, () => active.stream.end({ kind: 'done', finishReason, usage }));
    }
  }

  #stop(active: ActiveJob, why: NonNullable<ActiveJob['stopped']>): void {
    if (active.stopped !== undefined || active.stream.hasEnded) return;
    active.stopped = why;
    if (this.#queue.remove(active.queued.job.jobId) !== undefined) {
      this.#end(active, {});
      return;
    }
    active.abort.abort();
    // The engine ends aborted work soon and then tells its usage; a hung one must not keep the caller waiting.
    active.cancelTimer();
    active.cancelTimer = this.#options.clock.after(STOPPING, () => this.#end(active, {}));
  }

  /** Ends a job that did not run to its end: as it was stopped, else as the error says. */
  #end(active: ActiveJob, { usage, error }: { readonly usage?: JobUsage; readonly error?: unknown }): void {
    if (active.stream.hasEnded) return;
    const { log } = this.#options;
    const { jobId, timeoutMs } = active.queued.job;
    if (active.stopped === 'cancelled') {
      const counted = usage ?? this.#usage(active, this.#counted(active));
      this.#finish(active, () => active.stream.end({ kind: 'done', finishReason: 'cancelled', usage: counted }));
      return;
    }
    let failure: unknown = error;
    if (active.stopped === 'expired') {
      failure = new FleetError('job.expired', `not done within ${timeoutMs} ms`, { retryable: false });
    } else if (active.stopped === 'shutdown') {
      failure = new FleetError('job.cancelled', 'the agent shuts down', { retryable: true });
    }
    log.warn('job.failed', { jobId, ...told(failure) });
    const ending = { kind: 'failed', error: told(failure), ...(usage === undefined ? {} : { usage }) } as const;
    this.#finish(active, () => active.stream.end(ending));
  }

  #finish(active: ActiveJob, end: () => void): void {
    active.cancelTimer();
    end();
    this.#jobs.delete(active.queued.job.jobId);
    for (const wake of this.#idleWaiters) wake();
    this.#idleWaiters.clear();
  }

  #counted(active: ActiveJob): Pick<JobUsage, 'promptTokens' | 'outputTokens' | 'prefillMs' | 'decodeMs'> {
    return { promptTokens: 0, outputTokens: active.stream.outputTokens, prefillMs: 0, decodeMs: 0 };
  }

  #usage(
    active: ActiveJob,
    counts: Pick<JobUsage, 'promptTokens' | 'outputTokens' | 'prefillMs' | 'decodeMs'>,
  ): JobUsage {
    const used = this.#stopEnergy(active);
    const startedAt = active.startedAt ?? this.#options.clock.now();
    const queueMs = Math.max(0, startedAt - active.queued.arrivedAt);
    return { ...counts, energyJ: Math.max(0, used.energy), energySource: used.source, queueMs };
  }

  #stopEnergy(active: ActiveJob): { readonly energy: Joules; readonly source: PowerSource } {
    active.usedEnergy ??= this.#options.energy.stop(active.queued.job.jobId);
    return active.usedEnergy;
  }
}

function told(error: unknown): MessageError {
  if (isFleetError(error)) {
    return { code: error.code, message: error.message.slice(0, 500), retryable: error.retryable };
  }
  return { code: 'internal.invariant', message: messageOf(error).slice(0, 500), retryable: false };
}
