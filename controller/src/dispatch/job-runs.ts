import type { Clock } from '@fleetgate/shared/clock';
import { type FleetError, unreachable } from '@fleetgate/shared/errors';
import type { DeviceId, JobId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Job, JobOut, JobUsage, TokenChoice } from '@fleetgate/shared/protocol/job';
import { after, elapsed, type Milliseconds, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Device, FleetChange } from '../fleet/device.js';
import { Deadlines } from './deadlines.js';
import { type DeviceLoad, DeviceLoads, IDLE } from './device-load.js';
import type { DispatchConfig } from './dispatch-config.js';
import type { DispatchStats } from './dispatch-stats.js';
import type { ExpertLink } from './expert-link.js';
import { HeldJobs } from './held-jobs.js';
import { agentError, lostError, sendError } from './job-error.js';
import { JobEvents } from './job-events.js';
import type { JobRun, Request } from './request.js';
import type { Choice } from './request-events.js';
import { SilenceWatch } from './silence-watch.js';

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
  /** Whether another device could take the job of `run` now, or go on with its answer. */
  canMove(run: JobRun): boolean;
  /** Whether a job that was not sent yet would go to this device if it were decided now. */
  prefers?(run: JobRun, device: DeviceId): boolean;
  /** Whether the device of a job that waited still serves what it is for. */
  isServed?(run: JobRun): boolean;
  /** A job that had to wait is being sent. */
  sent?(run: JobRun): void;
  /** A job that was not sent yet was taken from its device: another is to be chosen. */
  displaced(run: JobRun, why: string): void;
}

/** What a job's turn is decided by where its device is busy. */
export interface Turn {
  readonly dueAt: UnixMs;
  readonly tenant: string;
}

export interface JobRunsParts {
  readonly link: ExpertLink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly config: DispatchConfig;
  readonly stats: DispatchStats;
  /** Jobs that a device runs at once. */
  readonly concurrencyOf: (device: DeviceId) => number;
  /** Between two batches of a device's telemetry. */
  readonly heartbeatOf: (device: DeviceId) => Milliseconds;
}

/** Jobs sent beyond those that a device runs: the next one is there when one ends. */
const AHEAD = 1;
/** Jobs of other devices that are looked at when one has nothing to do. */
const MOST_LOOKED_AT = 16;
const NOBODY: ReadonlySet<DeviceId> = new Set();

/**
 * Jobs at devices: sends them, puts their messages in order, watches their deadlines, and knows what each device has to
 * do. What becomes of a request whose job failed is its owner's business.
 */
export class JobRuns {
  readonly #parts: JobRunsParts;
  readonly #listener: JobRunListener;
  readonly #runs = new Map<JobId, JobRun>();
  readonly #loads = new DeviceLoads();
  readonly #held = new HeldJobs();
  /** Devices that did not acknowledge a job, and until when they are left alone. */
  readonly #unresponsive = new Map<DeviceId, UnixMs>();
  readonly #silence: SilenceWatch;

  constructor(parts: JobRunsParts, listener: JobRunListener) {
    this.#parts = parts;
    this.#listener = listener;
    this.#silence = new SilenceWatch({
      ...parts,
      jobs: () => this.#waitedFor(),
      onSuspected: (device, silent, isNew) => this.#onSuspected(device, silent, isNew),
    });
  }

  /** Jobs at devices, those told to stop included. */
  get size(): number {
    return this.#runs.size;
  }

  /** In the order decided, those that wait for their device included. */
  all(): Iterable<JobRun> {
    return this.#runs.values();
  }

  /** `turn`: of whoever asks, for it passes those that wait here and are less urgent; `own`: its job that waits already. */
  loadOf(device: Device, turn?: Turn, own?: JobId): DeviceLoad {
    if (this.#loads.isIdle(device)) return IDLE;
    const now = this.#parts.clock.now();
    const held = this.#held.at(device.id);
    if (turn === undefined || held.length === 0) return this.#loads.loadOf(device, now);
    const behind = held.filter((job) => job.jobId === own || this.#held.isBefore(turn, job, now));
    const ids = new Set(behind.map(({ jobId }) => jobId));
    return this.#loads.loadOf(device, now, (job) => ids.has(job));
  }

  /** Devices that a job should not be sent to now. */
  unresponsive(): ReadonlySet<DeviceId> {
    const now = this.#parts.clock.now();
    for (const [deviceId, until] of this.#unresponsive) if (until <= now) this.#unresponsive.delete(deviceId);
    const { suspects } = this.#silence;
    return suspects.size === 0 && this.#unresponsive.size === 0
      ? NOBODY
      : new Set([...this.#unresponsive.keys(), ...suspects]);
  }

  /** Sends a job, or holds it until it is its turn at a device that is busy. */
  start(request: Request, choice: Choice, predicted: Milliseconds, job: Job, turn: Turn): JobRun {
    const { clock, concurrencyOf } = this.#parts;
    const heardAt = clock.now();
    const run: JobRun = {
      jobId: job.jobId,
      job,
      attempt: request.record.attempts.length - 1,
      request,
      choice,
      predicted,
      events: new JobEvents(),
      deadlines: new Deadlines(clock),
      phase: 'held',
      heardAt,
    };
    this.#runs.set(run.jobId, run);
    // Members of an ensemble wait for each other's tokens: one that is held would hold them all.
    const isAwaited = job.kind === 'mix';
    const hasRoom = isAwaited || this.#sentTo(choice.deviceId) < concurrencyOf(choice.deviceId) + AHEAD;
    this.#loads.add(choice.deviceId, run.jobId, predicted, heardAt);
    if (hasRoom) this.#send(run);
    else this.#held.add({ jobId: job.jobId, deviceId: choice.deviceId, predicted, ...turn });
    return run;
  }

  /** Place (1 is next) of a job that waits here; undefined for one that was sent. */
  placeOf({ choice, jobId, phase }: JobRun): number | undefined {
    if (phase !== 'held') return undefined;
    return 1 + this.#held.at(choice.deviceId).findIndex((held) => held.jobId === jobId);
  }

  #send(run: JobRun): void {
    const { clock, config } = this.#parts;
    const waited = elapsed(run.heardAt, clock.now());
    run.phase = 'sent';
    run.heardAt = clock.now();
    run.deadlines.start('accept', config.acceptTimeout, () => this.#onNotAccepted(run));
    run.job = { ...run.job, timeoutMs: Math.max(1, Math.floor(run.job.timeoutMs - waited)) };
    this.#silence.watch(run.choice.deviceId);
    this.#transmit(run);
  }

  #transmit(run: JobRun): void {
    this.#parts.link.send(run.choice.deviceId, run.job).catch((error: unknown) => this.#fail(run, sendError(error)));
  }

  /** Jobs of ours at a device that were sent. */
  #sentTo(device: DeviceId): number {
    return this.#loads.countAt(device) - this.#held.at(device).length;
  }

  /** A device has room: the next of those that wait for it, or one that waits elsewhere and would be answered sooner here. */
  #fill(device: DeviceId): void {
    const { clock, concurrencyOf } = this.#parts;
    const now = clock.now();
    while (this.#sentTo(device) < concurrencyOf(device) + AHEAD) {
      const next = this.#held.next(device, now);
      if (next === undefined) break;
      this.#held.remove(next);
      this.#held.count(next);
      const run = this.#runs.get(next.jobId);
      if (run === undefined) continue;
      if (this.#listener.isServed?.(run) === false) {
        this.#displace(run, `${device} does not serve ${run.choice.variantId} any more`);
        continue;
      }
      this.#send(run);
      this.#listener.sent?.(run);
    }
    // One that would only wait here as well is left where it is.
    if (this.#sentTo(device) >= concurrencyOf(device)) return;
    for (const held of this.#held.elsewhere(device, MOST_LOOKED_AT, now)) {
      const run = this.#runs.get(held.jobId);
      if (run?.phase !== 'held' || this.#listener.prefers?.(run, device) !== true) continue;
      this.#displace(run, `${device} is free`);
      if (this.#sentTo(device) >= concurrencyOf(device)) return;
    }
  }

  #displaceAll(device: DeviceId, why: string): void {
    for (const { jobId } of [...this.#held.at(device)]) {
      const run = this.#runs.get(jobId);
      if (run?.phase === 'held') this.#displace(run, why);
    }
  }

  #displace(run: JobRun, why: string): void {
    this.#release(run);
    this.#listener.displaced(run, why);
  }

  /** Tells the device which token was chosen for a step of its `mix` job. */
  proceed(run: JobRun, step: number, token: number): void {
    if (run.phase === 'held' || run.phase === 'abandoned' || run.phase === 'ended') return;
    this.#parts.link.next(run.choice.deviceId, run.jobId, step, token);
  }

  /** Tells the device to stop. The run counts as work of its device until the agent confirms or the drain deadline. */
  abandon(run: JobRun, reason: string): void {
    if (run.phase === 'abandoned' || run.phase === 'ended') return;
    if (run.phase === 'held') {
      this.#release(run);
      return;
    }
    run.phase = 'abandoned';
    run.deadlines.stopAll();
    this.#parts.link.cancel(run.choice.deviceId, run.jobId, reason);
    run.deadlines.start('drain', this.#parts.config.drainTimeout, () => this.#release(run));
  }

  onOut(deviceId: DeviceId, out: JobOut): void {
    const { clock, config, stats } = this.#parts;
    this.#unresponsive.delete(deviceId);
    this.#silence.heard(deviceId, 'otherwise');
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

  onFleetChange({ event, before, after: device }: FleetChange): void {
    const { deviceId } = event;
    const offline = device?.presence !== 'online';
    const newSession = before !== undefined && device !== undefined && device.epoch !== before.epoch;
    if (newSession) this.#unresponsive.delete(deviceId);
    if (offline) this.#silence.forget(deviceId);
    else if (event.kind === 'observed') this.#silence.heard(deviceId, 'telemetry');
    else if (event.kind === 'presence' || event.kind === 'reported') this.#silence.heard(deviceId, 'otherwise');
    if (!offline && event.kind !== 'observed' && this.#held.size > 0) this.#fill(deviceId);
    if (!offline && !newSession) return;
    if (offline) this.#displaceAll(deviceId, `${deviceId} went offline`);
    for (const id of this.#loads.jobsAt(deviceId)) {
      const run = this.#runs.get(id);
      if (run !== undefined && run.phase !== 'held') this.#onAway(run, offline ? 'offline' : 'reconnected');
    }
    if (device === undefined) this.#loads.forget(deviceId);
  }

  /** Forgets every run; nothing is told any more. */
  close(): void {
    this.#silence.stop();
    for (const { jobId, choice } of this.#runs.values()) this.#held.remove({ jobId, deviceId: choice.deviceId });
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
    this.#displaceAll(deviceId, `${deviceId} does not acknowledge`);
  }

  #waitedFor(): ReadonlyMap<DeviceId, readonly JobRun[]> {
    const byDevice = new Map<DeviceId, JobRun[]>();
    for (const run of this.#runs.values()) {
      if (!isWaitedFor(run)) continue;
      const { deviceId } = run.choice;
      const its = byDevice.get(deviceId);
      if (its === undefined) byDevice.set(deviceId, [run]);
      else its.push(run);
    }
    return byDevice;
  }

  /** What another can take is taken from it; the rest waits for it until its lease is over. */
  #onSuspected(deviceId: DeviceId, silentMs: Milliseconds, isNew: boolean): void {
    const jobs = [...this.#loads.jobsAt(deviceId)];
    if (isNew) this.#parts.log.warn('device.suspected', { deviceId, silentMs, jobs: jobs.length });
    const why = `${deviceId} said nothing at all for ${silentMs} ms`;
    this.#displaceAll(deviceId, why);
    for (const id of jobs) {
      const run = this.#runs.get(id);
      if (run !== undefined && isWaitedFor(run) && this.#listener.canMove(run)) this.#fail(run, lostError(why));
    }
  }

  /**
   * A device that is offline before its first token is replaced at once if another one can take the job. In any other
   * case it has a grace: it may be back with its answer in a moment, and a new session may be the same agent reconnected.
   * What it has not acknowledged may have been sent while it was not listening, and is sent again; it knows a job by its id.
   */
  #onAway(run: JobRun, how: 'offline' | 'reconnected'): void {
    if (run.phase === 'abandoned') {
      this.#release(run);
      return;
    }
    if (how === 'reconnected' && run.phase === 'sent') this.#transmit(run);
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
    const { deviceId } = run.choice;
    const wasHeld = run.phase === 'held';
    if (wasHeld) this.#held.remove({ deviceId, jobId: run.jobId });
    run.phase = 'ended';
    run.deadlines.stopAll();
    this.#runs.delete(run.jobId);
    this.#loads.release(deviceId, run.jobId, this.#parts.clock.now());
    if (!wasHeld && this.#held.size > 0) this.#fill(deviceId);
  }
}

/** Sent, and wanted. */
function isWaitedFor({ phase }: JobRun): boolean {
  return phase === 'sent' || phase === 'accepted' || phase === 'streaming';
}
