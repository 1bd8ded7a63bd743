import type { Clock } from '@fleetgate/shared/clock';
import { type FleetError, unreachable } from '@fleetgate/shared/errors';
import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Job, JobOut, JobUsage, TokenChoice } from '@fleetgate/shared/protocol/job';
import { after, elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Device, FleetChange } from '../fleet/device.js';
import { Deadlines } from './deadlines.js';
import { type DeviceLoad, DeviceLoads } from './device-load.js';
import type { DispatchConfig } from './dispatch-config.js';
import type { DispatchStats } from './dispatch-stats.js';
import type { ExpertLink } from './expert-link.js';
import { agentError, lostError, sendError } from './job-error.js';
import { JobEvents } from './job-events.js';
import type { JobRun, Request } from './request.js';
import type { Choice } from './request-events.js';

/** What the owner of the runs is told. After `ended` or `failed` a run tells only `usage`. */
export interface JobRunListener {
  tokens(run: JobRun, out: JobOut & { readonly kind: 'tokens' }): void;
  /** A step of a `mix` job; told only where it was asked for. */
  next?(run: JobRun, out: JobOut & { readonly kind: 'next' }): void;
  /** How likely tokens of the answer were; told only where it was asked for. */
  choices?(run: JobRun, choices: readonly TokenChoice[]): void;
  /** Vectors of texts, in their order; told only where they were asked for. */
  vectors?(run: JobRun, vectors: readonly string[]): void;
  ended(run: JobRun, out: JobOut & { readonly kind: 'done' | 'scored' | 'embedded' }): void;
  failed(run: JobRun, error: FleetError, when: 'before-first-token' | 'streaming'): void;
  /** What a run that failed or was abandoned has cost. */
  usage(run: JobRun, usage: JobUsage): void;
  /** Whether another device could take the job of `run` now. */
  canMove(run: JobRun): boolean;
}

export interface JobRunsParts {
  readonly link: ExpertLink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly config: DispatchConfig;
  readonly stats: DispatchStats;
}

/**
 * Jobs at devices: sends them, puts their messages in order, watches their deadlines, and knows what each device has to
 * do. What becomes of a request whose job failed is its owner's business.
 */
export class JobRuns {
  readonly #parts: JobRunsParts;
  readonly #listener: JobRunListener;
  readonly #runs = new Map<JobId, JobRun>();
  readonly #loads = new DeviceLoads();
  /** Devices that did not acknowledge a job, and until when they are left alone. */
  readonly #unresponsive = new Map<DeviceId, UnixMs>();

  constructor(parts: JobRunsParts, listener: JobRunListener) {
    this.#parts = parts;
    this.#listener = listener;
  }

  /** Jobs at devices, those told to stop included. */
  get size(): number {
    return this.#runs.size;
  }

  loadOf(device: Device): DeviceLoad {
    return this.#loads.loadOf(device, this.#parts.clock.now());
  }

  /** Devices that a job should not be sent to now. */
  unresponsive(): ReadonlySet<DeviceId> {
    const now = this.#parts.clock.now();
    for (const [deviceId, until] of this.#unresponsive) if (until <= now) this.#unresponsive.delete(deviceId);
    return new Set(this.#unresponsive.keys());
  }

  start(request: Request, choice: Choice, predicted: Milliseconds, job: Job): JobRun {
    const { clock, config, link } = this.#parts;
    const heardAt = clock.now();
    const run: JobRun = {
      jobId: job.jobId,
      request,
      choice,
      events: new JobEvents(),
      deadlines: new Deadlines(clock),
      phase: 'sent',
      heardAt,
    };
    this.#runs.set(run.jobId, run);
    this.#loads.add(choice.deviceId, run.jobId, predicted, heardAt);
    run.deadlines.start('accept', config.acceptTimeout, () => this.#onNotAccepted(run));
    link.send(choice.deviceId, job).catch((error: unknown) => this.#fail(run, sendError(error)));
    return run;
  }

  /** Tells the device which token was chosen for a step of its `mix` job. */
  proceed(run: JobRun, step: number, token: number): void {
    if (run.phase === 'abandoned' || run.phase === 'ended') return;
    this.#parts.link.next(run.choice.deviceId, run.jobId, step, token);
  }

  /** Tells the device to stop. The run counts as work of its device until the agent confirms or the drain deadline. */
  abandon(run: JobRun, reason: string): void {
    if (run.phase === 'abandoned' || run.phase === 'ended') return;
    run.phase = 'abandoned';
    run.deadlines.stopAll();
    this.#parts.link.cancel(run.choice.deviceId, run.jobId, reason);
    run.deadlines.start('drain', this.#parts.config.drainTimeout, () => this.#release(run));
  }

  onOut(deviceId: DeviceId, out: JobOut): void {
    const { clock, config, stats } = this.#parts;
    this.#unresponsive.delete(deviceId);
    const run = this.#runs.get(out.jobId);
    if (run === undefined) {
      stats.late += 1;
      return;
    }
    if (run.choice.deviceId !== deviceId) {
      stats.foreign += 1;
      return;
    }
    run.heardAt = clock.now();
    run.deadlines.stop('accept');
    run.deadlines.stop('loss');
    const { deliver, ignored } = run.events.take(out);
    if (ignored !== undefined) stats[ignored] += 1;
    for (const next of deliver) this.#onDelivered(run, next);
    if (run.phase === 'abandoned' || run.phase === 'ended') return;
    if (!run.events.hasGap) run.deadlines.stop('gap');
    else
      run.deadlines.start('gap', config.gapTimeout, () => this.#fail(run, lostError('messages of the job were lost')));
  }

  onFleetChange({ event: { deviceId }, before, after: device }: FleetChange): void {
    const offline = device?.presence !== 'online';
    const newSession = before !== undefined && device !== undefined && device.epoch !== before.epoch;
    if (newSession) this.#unresponsive.delete(deviceId);
    if (!offline && !newSession) return;
    for (const id of this.#loads.jobsAt(deviceId)) {
      const run = this.#runs.get(id);
      if (run !== undefined) this.#onAway(run, offline ? 'offline' : 'reconnected');
    }
    if (device === undefined) this.#loads.forget(deviceId);
  }

  /** Forgets every run; nothing is told any more. */
  close(): void {
    for (const run of this.#runs.values()) this.#release(run);
  }

  #onDelivered(run: JobRun, out: JobOut): void {
    if (run.phase === 'abandoned') {
      if (run.events.ended) this.#release(run);
      if ('usage' in out && out.usage !== undefined) this.#listener.usage(run, out.usage);
      return;
    }
    switch (out.kind) {
      case 'accepted':
        run.phase = 'accepted';
        return;
      case 'tokens':
        run.phase = 'streaming';
        run.deadlines.start('stall', this.#parts.config.stallTimeout, () => this.#onStallCheck(run));
        this.#listener.tokens(run, out);
        return;
      case 'next':
        run.phase = 'streaming';
        run.deadlines.start('stall', this.#parts.config.stallTimeout, () => this.#onStallCheck(run));
        this.#listener.next?.(run, out);
        return;
      case 'choices':
        this.#listener.choices?.(run, out.choices);
        return;
      case 'vectors':
        this.#listener.vectors?.(run, out.vectors);
        return;
      case 'failed':
        if (out.usage !== undefined) this.#listener.usage(run, out.usage);
        this.#fail(run, agentError(run.choice.deviceId, out.error));
        return;
      case 'done':
      case 'scored':
      case 'embedded':
        if (out.kind === 'done' && out.finishReason === 'cancelled') {
          // Nobody here asked for it: the agent is stopping or makes room for another variant.
          this.#listener.usage(run, out.usage);
          this.#fail(run, lostError(`${run.choice.deviceId} ended the job by itself`));
          return;
        }
        this.#release(run);
        this.#listener.ended(run, out);
        return;
      default:
        unreachable(out);
    }
  }

  /** The timer is not moved with every token: it looks back when it fires. */
  #onStallCheck(run: JobRun): void {
    const { clock, config } = this.#parts;
    const left = milliseconds(config.stallTimeout - elapsed(run.heardAt, clock.now()));
    if (left > 0) run.deadlines.start('stall', left, () => this.#onStallCheck(run));
    else this.#fail(run, lostError(`${run.choice.deviceId} fell silent for ${config.stallTimeout} ms in its answer`));
  }

  #onNotAccepted(run: JobRun): void {
    const { clock, config, log } = this.#parts;
    const { deviceId } = run.choice;
    this.#unresponsive.set(deviceId, after(clock.now(), config.unresponsiveFor));
    log.warn('job.not-accepted', { jobId: run.jobId, deviceId, waitedMs: config.acceptTimeout });
    this.#fail(run, lostError(`${deviceId} did not acknowledge the job within ${config.acceptTimeout} ms`));
  }

  /**
   * A device that is offline before its first token is replaced at once if another one can take the job. In any other
   * case it has a grace: it may be back with its answer in a moment, and a new session may be the same agent reconnected.
   */
  #onAway(run: JobRun, how: 'offline' | 'reconnected'): void {
    if (run.phase === 'abandoned') {
      this.#release(run);
      return;
    }
    const lost = (): void => this.#fail(run, lostError(`${run.choice.deviceId} went offline`));
    if (how === 'offline' && run.phase !== 'streaming' && this.#listener.canMove(run)) lost();
    else run.deadlines.start('loss', this.#parts.config.lossGrace, lost);
  }

  #fail(run: JobRun, error: FleetError): void {
    if (run.phase === 'abandoned' || run.phase === 'ended') return;
    const when = run.phase === 'streaming' ? 'streaming' : 'before-first-token';
    const { jobId, choice } = run;
    this.#parts.log.info('job.failed', { jobId, deviceId: choice.deviceId, code: error.code, when });
    // Nothing is left to stop where the agent has ended it, or could not be given it.
    if (run.events.ended || (run.phase === 'sent' && error.kind === 'input')) this.#release(run);
    else this.abandon(run, error.code);
    this.#listener.failed(run, error, when);
  }

  /** The only place where a run leaves the counts. Idempotent. */
  #release(run: JobRun): void {
    run.phase = 'ended';
    run.deadlines.stopAll();
    this.#runs.delete(run.jobId);
    this.#loads.release(run.choice.deviceId, run.jobId, this.#parts.clock.now());
  }
}
