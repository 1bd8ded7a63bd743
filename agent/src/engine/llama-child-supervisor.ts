import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { type Milliseconds, elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

import type { FromChild } from './child-message.js';
import { EngineStatus } from './engine-status.js';
import { type ChildHosts, LlamaChildProcess } from './llama-child-process.js';
import { decideRestart } from './restart-policy.js';

export interface ChildSupervisorOptions {
  /** Threads of all evaluations together. More than there are idle cores makes it slower by orders of magnitude. */
  readonly threads: number;
  /** Jobs that one variant runs at once; each adds a KV cache. */
  readonly sequences: number;
  readonly gpu: 'off' | 'auto';
  /** Default: whole models. */
  readonly hosts?: ChildHosts;
  /** Without a sign of life for this long the child counts as hung. */
  readonly watchdog: Milliseconds;
  readonly log: Logger;
  readonly clock: Clock;
}

interface Owner {
  onMessage(message: FromChild): void;
  /** The child is gone with all that it held; an error where it was not asked to go. */
  onGone(error: FleetError | undefined): void;
  /** Whether nothing needs the child: nothing is resident, no call runs. */
  isIdle(): boolean;
}

/** With nothing resident for this long the child is stopped: it takes some 90 MB. */
const IDLE_STOP = milliseconds(30_000);

/**
 * Keeps one child process alive: starts it with the first call that needs it, restarts it with backoff after a crash or
 * hang. After several quick crashes the engine is down, and tried again every 30 s.
 */
export class LlamaChildSupervisor {
  readonly status = new EngineStatus();
  readonly #options: ChildSupervisorOptions;
  readonly #owner: Owner;
  #child: LlamaChildProcess | undefined;
  #crashes = 0;
  #closed = false;
  #cancelTimer: () => void = () => {};

  constructor(options: ChildSupervisorOptions, owner: Owner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** Undefined while there is none. */
  get child(): LlamaChildProcess | undefined {
    return this.#child;
  }

  /** A child that takes calls, started if there is none; waits while the engine restarts. */
  async ready(signal: AbortSignal): Promise<LlamaChildProcess> {
    for (;;) {
      this.checkOpen();
      if (signal.aborted) throw new FleetError('job.cancelled', 'the call was cancelled');
      const status = this.status.current;
      if (status.state === 'down') {
        throw new FleetError('engine.unavailable', `the engine is down: ${status.reason}`, {
          retryable: true,
          hint: 'it is tried again every 30 s',
        });
      }
      if (status.state === 'ready') {
        const child = (this.#child ??= this.#start());
        await child.started;
        if (child === this.#child) return child;
        continue;
      }
      await this.status.nextChange(signal);
    }
  }

  /** To be called whenever the owner may have become idle. */
  stopWhenIdle(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(IDLE_STOP, () => {
      if (!this.#owner.isIdle() || this.status.current.state !== 'ready') return;
      const child = this.#child;
      this.#child = undefined;
      void child?.stop();
    });
  }

  checkOpen(): void {
    if (this.#closed) throw closed();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    const child = this.#child;
    this.#child = undefined;
    this.#owner.onGone(closed());
    this.status.close();
    await child?.stop();
  }

  #start(): LlamaChildProcess {
    this.#cancelTimer();
    const { threads, sequences, gpu, watchdog, clock } = this.#options;
    const options = { threads, sequences, gpu, heartbeatMs: Math.max(10, Math.floor(watchdog / 4)) };
    const child: LlamaChildProcess = new LlamaChildProcess(this.#options.hosts ?? 'models', options, watchdog, clock, {
      onMessage: (message) => this.#owner.onMessage(message),
      onEnd: (error) => this.#onEnd(child, error),
    });
    void this.#announce(child);
    return child;
  }

  async #announce(child: LlamaChildProcess): Promise<void> {
    try {
      const version = await child.started;
      this.#options.log.info('engine.started', { version, childPid: child.pid });
    } catch {
      return; // its end tells why
    }
    if (child === this.#child) this.status.set({ state: 'ready' });
  }

  #onEnd(child: LlamaChildProcess, error: FleetError | undefined): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    this.#owner.onGone(error);
    if (error === undefined) return;
    const lifetime = elapsed(child.startedAt, this.#options.clock.now());
    // An engine that cannot start will not start in a second either.
    const decision = decideRestart(error.code === 'engine.unavailable' ? Infinity : this.#crashes, lifetime);
    this.#crashes = decision.crashes;
    this.#options.log.warn('engine.lost', { code: error.code, message: error.message, restartMs: decision.delay });
    this.status.set({ state: decision.state, reason: messageOf(error) });
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(decision.delay, () => {
      this.#child = this.#start();
    });
  }
}

function closed(): FleetError {
  return new FleetError('engine.unavailable', 'the engine was closed');
}
