import { type ChildProcess, fork } from 'node:child_process';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';
import { type Milliseconds, type UnixMs, elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

import { type ChildOptions, type FromChild, type ToChild, fromPlainError } from './child-message.js';

/** Why a child is gone, as the calls that it leaves behind are to be told. */
export type ChildLoss = FleetError;

export interface ChildEvents {
  onMessage(message: FromChild): void;
  /** Called once, when the process has ended; `error` is undefined when `stop` ended it. */
  onEnd(error: ChildLoss | undefined): void;
}

/** What a child hosts: whole models, or mixtures of experts whose slabs it looks after. */
export type ChildHosts = 'models' | 'slabs';
const CHILD_ENTRIES = { models: './llama-engine-child.js', slabs: './slab-engine-child.js' } as const;

/** A nursery that does not grow: 12 MB less, for a collection every hundred tokens or so. */
const LEAN = ['--max-semi-space-size=1'];
/** Loading the runtime blocks the child for a while, longer on small boards. */
const START_DEADLINE = milliseconds(60_000);
/** From SIGTERM to SIGKILL. */
const STOP_DEADLINE = milliseconds(3_000);
/** One native step (a batch of a long prompt on a slow board) may take this many watchdog times. */
const STALL_FACTOR = 12;
const KEPT_ERROR_TEXT = 500;

/**
 * One run of the engine's child: started, watched for signs of life, and reaped.
 *
 * No message for a watchdog time, or no progress in STALL_FACTOR of them while it is busy, counts as a hang: the child
 * is killed and its end reported as `engine.timeout`.
 */
export class LlamaChildProcess {
  readonly startedAt: UnixMs;
  /** Resolves with the runtime's version when it can take calls; rejects when it cannot start. */
  readonly started: Promise<string>;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #watchdog: Milliseconds;
  readonly #events: ChildEvents;
  readonly #ended: Promise<void>;
  readonly #stopWatching: () => void;
  readonly #settleStart: { resolve: (version: string) => void; reject: (error: FleetError) => void };
  #state: 'starting' | 'running' | 'stopping' | 'ended' = 'starting';
  #heardAt: UnixMs;
  #progressAt: UnixMs;
  #progress = -1;
  #busy = false;
  #errorText = '';
  #loss: FleetError | undefined;

  constructor(hosts: ChildHosts, options: ChildOptions, watchdog: Milliseconds, clock: Clock, events: ChildEvents) {
    this.#clock = clock;
    this.#watchdog = watchdog;
    this.#events = events;
    this.startedAt = this.#heardAt = this.#progressAt = clock.now();
    const { promise, resolve, reject } = withResolvers<string>();
    this.started = promise;
    this.started.catch(() => {});
    this.#settleStart = { resolve, reject };
    this.#child = fork(processEntry(import.meta.url, CHILD_ENTRIES[hosts]), [JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: LEAN,
    });
    const { promise: ended, resolve: end } = withResolvers<void>();
    this.#ended = ended;
    this.#child.on('message', (message) => this.#receive(message as FromChild));
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.#errorText = (this.#errorText + text.toString('utf8')).slice(-KEPT_ERROR_TEXT);
    });
    // A call that could not be written is lost with the child: `exit` reports it.
    this.#child.on('error', (error) => {
      this.#errorText = error.message;
      if (this.#child.pid === undefined) this.#end(null, null, end);
    });
    this.#child.on('exit', (code, signal) => this.#end(code, signal, end));
    this.#stopWatching = this.#watch();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  send(message: ToChild): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Ends the child and waits until it is gone. */
  async stop(): Promise<void> {
    if (this.#state === 'ended') return;
    this.#state = 'stopping';
    this.#child.kill('SIGTERM');
    const cancel = this.#clock.after(STOP_DEADLINE, () => this.#child.kill('SIGKILL'));
    await this.#ended;
    cancel();
  }

  #receive(message: FromChild): void {
    this.#heardAt = this.#clock.now();
    switch (message.kind) {
      case 'started':
        if (this.#state === 'starting') this.#state = 'running';
        this.#progressAt = this.#heardAt;
        this.#settleStart.resolve(message.version);
        return;
      case 'start-failed':
        this.#loss = fromPlainError(message.error);
        return;
      case 'heartbeat':
        if (message.progress !== this.#progress || !message.busy) this.#progressAt = this.#heardAt;
        this.#progress = message.progress;
        this.#busy = message.busy;
        return;
      case 'text':
      case 'step':
      case 'done':
      case 'failed':
        this.#progressAt = this.#heardAt;
        this.#events.onMessage(message);
    }
  }

  #watch(): () => void {
    const period = milliseconds(this.#watchdog / 4);
    let lookedAt = this.#clock.now();
    return this.#clock.every(period, () => {
      const now = this.#clock.now();
      // After a pause of our own (suspend, a busy machine) the child's messages are still to be read: look again later.
      const paused = elapsed(lookedAt, now) > 2 * period;
      lookedAt = now;
      if (paused) this.#heardAt = this.#progressAt = now;
      const silent = elapsed(this.#heardAt, now);
      const stalled = this.#busy ? elapsed(this.#progressAt, now) : milliseconds(0);
      const limit = this.#state === 'starting' ? Math.max(START_DEADLINE, this.#watchdog) : this.#watchdog;
      if (silent > limit) this.#kill(`gave no sign of life for ${Math.round(silent)} ms`);
      else if (stalled > STALL_FACTOR * limit) this.#kill(`made no progress for ${Math.round(stalled)} ms`);
    });
  }

  #kill(reason: string): void {
    this.#loss ??= new FleetError('engine.timeout', `the engine process ${reason} and was killed`, {
      retryable: true,
      hint: 'it restarts by itself; if it keeps happening, give it fewer threads or a smaller model',
    });
    this.#child.kill('SIGKILL');
  }

  #end(code: number | null, signal: string | null, end: () => void): void {
    if (this.#state === 'ended') return;
    const stopped = this.#state === 'stopping';
    this.#state = 'ended';
    this.#stopWatching();
    const error = this.#loss ?? this.#crash(code, signal);
    this.#settleStart.reject(error);
    this.#events.onEnd(stopped ? undefined : error);
    end();
  }

  #crash(code: number | null, signal: string | null): FleetError {
    const how = signal === null ? `ended with exit code ${code ?? 'none'}` : `was ended by ${signal}`;
    const said = this.#errorText.trim().split('\n').slice(-3).join(' | ');
    const memory = signal === 'SIGKILL' ? '; the system does that when memory runs out' : '';
    return new FleetError('engine.crashed', `the engine process ${how}${memory}${said === '' ? '' : `: ${said}`}`, {
      retryable: true,
      hint: 'it restarts by itself and loads its variants again',
    });
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: FleetError) => void } {
  let resolve: (value: T) => void = () => {};
  let reject: (error: FleetError) => void = () => {};
  const promise = new Promise<T>((accept, refuse) => {
    resolve = accept;
    reject = refuse;
  });
  return { promise, resolve, reject };
}
