import type { Clock } from '@fleetgate/shared/clock';
import type { DeviceId, JobId, VariantId } from '@fleetgate/shared/ids';
import type { Job, JobOut, JobUsage } from '@fleetgate/shared/protocol/job';
import type { Desired, Measurement, Reported } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { elapsed, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { SimulatedBody } from './boards.js';

/** Messages of text of one answer, the first with its first token. */
const CHUNKS = 4;
/** Storage that variants are loaded from, bytes/s. */
const LOAD_BYTES_PER_S = 400e6;
/** Time from an accepted job to the start of its prefill. */
const OVERHEAD_MS = 20;

/** What a job of a variant really takes on a device: unknown to the controller but for the enrolment benchmark. */
export interface TrueSpeed {
  readonly prefillTokensPerS: number;
  readonly decodeTokensPerS: number;
  readonly memoryBytes: number;
  readonly sizeBytes: number;
}

export interface SimulatedDeviceParts {
  readonly id: DeviceId;
  readonly board: SimulatedBody;
  readonly speedOf: (variant: VariantId) => TrueSpeed | undefined;
  readonly measurements: readonly Measurement[];
  /** Real tokens of a job, by its id: what the trace says. */
  readonly workOf: (job: JobId) => { readonly promptTokens: number; readonly outputTokens: number };
  /** Factor on the time of a job now: slow, hot or ordinary (1), with the noise of one job. */
  readonly slowness: () => number;
  readonly clock: Clock;
  readonly tell: {
    reported(reported: Reported): void;
    out(out: JobOut): void;
  };
}

interface Run {
  readonly job: Job;
  readonly receivedAt: UnixMs;
  seq: number;
  /** Undefined while it waits. */
  startedAt: UnixMs | undefined;
  prefillMs: number;
  decodeMs: number;
  outputTokens: number;
  cancels: (() => void)[];
}

/** A device with its agent and engine, simulated: it loads what it is told to, runs jobs first come first served, and draws power. */
export class SimulatedDevice {
  readonly id: DeviceId;
  readonly board: SimulatedBody;
  readonly #parts: SimulatedDeviceParts;
  readonly #resident = new Set<VariantId>();
  readonly #loading = new Map<VariantId, () => void>();
  #queue: Run[] = [];
  #running: Run | undefined;
  #desired: Desired | undefined;
  #epoch = 0;
  #isOn = false;
  #busySince: UnixMs | undefined;
  #energyJ = 0;
  #idleFrom: UnixMs;

  constructor(parts: SimulatedDeviceParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.board = parts.board;
    this.#idleFrom = parts.clock.now();
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get queuedJobs(): number {
    return this.#queue.length;
  }

  get runningJobs(): number {
    return this.#running === undefined ? 0 : 1;
  }

  /** A new session: nothing of the old one is there, what was stored is loaded again. */
  switchOn(): void {
    if (this.#isOn) return;
    this.#drawIdle();
    this.#isOn = true;
    this.#epoch += 1;
    this.#converge();
  }

  /** Power is lost: jobs vanish without a word. */
  switchOff(): void {
    if (!this.#isOn) return;
    this.#drawIdle();
    for (const run of this.#all()) for (const cancel of run.cancels) cancel();
    this.#drawBusy();
    this.#queue = [];
    this.#running = undefined;
    this.#resident.clear();
    for (const cancel of this.#loading.values()) cancel();
    this.#loading.clear();
    this.#isOn = false;
  }

  desire(desired: Desired): void {
    this.#drawIdle();
    this.#desired = desired;
    if (this.#isOn) this.#converge();
  }

  /** Joules drawn so far, idling included. */
  energyJ(): number {
    this.#drawIdle();
    this.#drawBusy();
    return this.#energyJ;
  }

  receive(job: Job): void {
    if (!this.#isOn || this.#all().some((run) => run.job.jobId === job.jobId)) return;
    const run: Run = {
      job,
      receivedAt: this.#parts.clock.now(),
      seq: 0,
      startedAt: undefined,
      prefillMs: 0,
      decodeMs: 0,
      outputTokens: 0,
      cancels: [],
    };
    if (!this.#resident.has(job.variantId)) {
      this.#say(run, { kind: 'failed', error: { code: 'job.rejected', message: 'not resident', retryable: true } });
      return;
    }
    this.#say(run, { kind: 'accepted', queuePosition: this.#queue.length });
    this.#queue.push(run);
    this.#startNext();
  }

  cancel(job: JobId): void {
    const waiting = this.#queue.find((run) => run.job.jobId === job);
    if (waiting !== undefined) {
      this.#queue = this.#queue.filter((run) => run !== waiting);
      this.#say(waiting, { kind: 'done', finishReason: 'cancelled', usage: this.#usage(waiting) });
    } else if (this.#running?.job.jobId === job) {
      const run = this.#running;
      for (const cancel of run.cancels) cancel();
      this.#say(run, { kind: 'done', finishReason: 'cancelled', usage: this.#usage(run) });
      this.#end();
    }
  }

  #all(): readonly Run[] {
    return this.#running === undefined ? this.#queue : [this.#running, ...this.#queue];
  }

  #startNext(): void {
    if (this.#running !== undefined) return;
    const run = this.#queue.shift();
    if (run === undefined) return;
    const { clock, slowness, speedOf, workOf } = this.#parts;
    const speed = speedOf(run.job.variantId);
    if (speed === undefined) return;
    this.#running = run;
    this.#busySince = clock.now();
    run.startedAt = clock.now();
    const { outputTokens, promptTokens } = workOf(run.job.jobId);
    const begun = begunTokens(run.job);
    const left = Math.max(1, outputTokens - begun);
    const factor = slowness();
    run.prefillMs = OVERHEAD_MS + (factor * 1000 * (promptTokens + begun)) / speed.prefillTokensPerS;
    run.decodeMs = (factor * 1000 * left) / speed.decodeTokensPerS;
    const perToken = run.decodeMs / left;
    const ends = Array.from({ length: CHUNKS }, (_, n) => Math.max(1, Math.ceil((left * (n + 1)) / CHUNKS)));
    const counts = [...new Set([1, ...ends])];
    counts.forEach((count, n) => {
      const tokens = count - (counts[n - 1] ?? 0);
      const delay = milliseconds(run.prefillMs + perToken * count);
      run.cancels.push(clock.after(delay, () => this.#onChunk(run, tokens, count === left)));
    });
  }

  #onChunk(run: Run, tokens: number, isLast: boolean): void {
    run.outputTokens += tokens;
    this.#say(run, { kind: 'tokens', text: '.'.repeat(tokens), tokens });
    if (!isLast) return;
    this.#say(run, { kind: 'done', finishReason: 'stop', usage: this.#usage(run) });
    this.#end();
  }

  #end(): void {
    this.#drawBusy();
    this.#busySince = undefined;
    this.#running = undefined;
    this.#startNext();
  }

  #usage(run: Run): JobUsage {
    const now = this.#parts.clock.now();
    const busyMs = run.startedAt === undefined ? 0 : elapsed(run.startedAt, now);
    const prefillMs = Math.min(busyMs, run.prefillMs);
    const resumed = begunTokens(run.job);
    return {
      promptTokens: this.#parts.workOf(run.job.jobId).promptTokens + resumed,
      ...(resumed > 0 ? { resumedTokens: resumed } : {}),
      outputTokens: run.outputTokens,
      energyJ: (this.#aboveIdleW() * busyMs) / 1000,
      energySource: 'measured',
      queueMs: elapsed(run.receivedAt, run.startedAt ?? now),
      prefillMs,
      decodeMs: busyMs - prefillMs,
    };
  }

  #say(run: Run, out: OutWithoutHead): void {
    const head = { v: PROTOCOL_VERSION, jobId: run.job.jobId, seq: run.seq++ };
    this.#parts.tell.out({ ...head, ...out } as JobOut);
  }

  /** Loads what is wanted and is not there, one after the other's size; drops what is not wanted. */
  #converge(): void {
    const wanted = new Set(this.#desired?.variants.map(({ variantId }) => variantId));
    for (const variant of this.#resident) if (!wanted.has(variant)) this.#resident.delete(variant);
    for (const [variant, cancel] of this.#loading) {
      if (wanted.has(variant)) continue;
      cancel();
      this.#loading.delete(variant);
    }
    for (const variant of wanted) {
      if (this.#resident.has(variant) || this.#loading.has(variant)) continue;
      const sizeBytes = this.#parts.speedOf(variant)?.sizeBytes ?? 0;
      const cancel = this.#parts.clock.after(milliseconds((1000 * sizeBytes) / LOAD_BYTES_PER_S), () => {
        this.#loading.delete(variant);
        this.#resident.add(variant);
        this.#report();
      });
      this.#loading.set(variant, cancel);
    }
    this.#report();
  }

  #report(): void {
    if (this.#isOn) this.#parts.tell.reported(this.reported());
  }

  reported(): Reported {
    const { board } = this;
    const usedBytes = [...this.#resident].reduce((sum, id) => sum + (this.#parts.speedOf(id)?.memoryBytes ?? 0), 0);
    return {
      v: PROTOCOL_VERSION,
      epoch: Math.max(1, this.#epoch),
      observedGeneration: this.#desired?.generation ?? 0,
      settled: this.#loading.size === 0,
      state: this.#desired?.state === 'standby' ? 'standby' : 'active',
      board: 'linux-arm64' as Reported['board'],
      agentVersion: 'simulated',
      host: {
        id: this.id,
        os: 'simulated',
        arch: 'arm64',
        cpu: board.name,
        cores: 4,
        memoryBytes: board.memoryGiB * 2 ** 30,
      },
      engine: { kind: 'scripted', version: 'simulated', state: 'ready', abilities: ['resume'] },
      memory: { budgetBytes: board.memoryGiB * 2 ** 30, usedBytes },
      storage: { freeBytes: 1e12, readBytesPerS: LOAD_BYTES_PER_S },
      slots: board.slots,
      concurrency: 1,
      power: {
        source: 'modelled',
        from: 'simulation',
        idleW: board.idleW,
        loadW: board.loadW,
        standbyW: board.standbyW,
      },
      variants: [
        ...[...this.#resident].map((variantId) => ({ variantId, residency: 'resident' as const })),
        ...[...this.#loading.keys()].map((variantId) => ({ variantId, residency: 'loading' as const })),
      ],
      measurements: [...this.#parts.measurements],
    };
  }

  #aboveIdleW(): number {
    return this.board.loadW - this.board.idleW;
  }

  #drawIdle(): void {
    const now = this.#parts.clock.now();
    const { idleW, standbyW } = this.board;
    const watts = this.#desired?.state === 'standby' ? standbyW : idleW;
    if (this.#isOn) this.#energyJ += (watts * elapsed(this.#idleFrom, now)) / 1000;
    this.#idleFrom = now;
  }

  #drawBusy(): void {
    if (this.#busySince === undefined) return;
    const now = this.#parts.clock.now();
    this.#energyJ += (this.#aboveIdleW() * elapsed(this.#busySince, now)) / 1000;
    this.#busySince = now;
  }
}

/** Tokens of an answer that another device began: simulated text has a character for each. */
function begunTokens(job: Job): number {
  return 'resume' in job ? (job.resume?.text.length ?? 0) : 0;
}

type OutWithoutHead =
  | { readonly kind: 'accepted'; readonly queuePosition: number }
  | { readonly kind: 'tokens'; readonly text: string; readonly tokens: number }
  | { readonly kind: 'done'; readonly finishReason: 'stop' | 'cancelled'; readonly usage: JobUsage }
  | {
      readonly kind: 'failed';
      readonly error: { readonly code: string; readonly message: string; readonly retryable: boolean };
    };
