import { type ChildProcess, fork } from 'node:child_process';

import { BehaviorSubject, type Observable, Subject, filter, firstValueFrom } from 'rxjs';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, unreachable } from '@fleetgate/shared/errors';
import type { FleetId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { processEntry, SERVING_ARGUMENTS } from '@fleetgate/shared/process-entry';
import { type Milliseconds, elapsed, milliseconds } from '@fleetgate/shared/units/quantity';

import type { TelemetryPlace } from '../telemetry/open-telemetry-store.js';
import type { TelemetryObservation } from '../telemetry/telemetry-event.js';
import type { TlsEndpoint } from './aedes-broker.js';
import type { TlsMaterial } from './aedes-tls-listener.js';
import type { BrokerEvent } from './broker-event.js';
import type { BrokerStart, ExternalBroker, FromBroker, ToBroker } from './broker-ipc.js';
import type { BrokerUser } from './broker-user.js';

export interface BrokerSupervisorOptions {
  readonly host: string;
  /** 0 picks a free one, kept over restarts; `none` listens by TLS only. */
  readonly port: number | 'none';
  /** Its port, too, is kept over restarts. */
  readonly tls?: TlsEndpoint;
  readonly fleet: FleetId;
  readonly telemetry: TelemetryPlace;
  readonly external?: ExternalBroker;
  /** How long telemetry rollups are kept. */
  readonly retention: Milliseconds;
  readonly log: Logger;
  readonly clock: Clock;
  readonly timing?: Partial<SupervisorTiming>;
}

export interface SupervisorTiming {
  /** The broker is asked for a sign of life this often, and killed after so many askings without one. */
  readonly pingEvery: Milliseconds;
  readonly silentPings: number;
  readonly firstBackoff: Milliseconds;
  readonly longestBackoff: Milliseconds;
  /** A broker that lived this long starts the backoff afresh. */
  readonly stableAfter: Milliseconds;
  /** For a start and a change of users. */
  readonly deadline: Milliseconds;
  /** A broker that has not ended by then is killed. */
  readonly stopDeadline: Milliseconds;
}

const DEFAULT_TIMING: SupervisorTiming = {
  pingEvery: milliseconds(2_000),
  silentPings: 8,
  firstBackoff: milliseconds(100),
  longestBackoff: milliseconds(10_000),
  stableAfter: milliseconds(30_000),
  deadline: milliseconds(20_000),
  stopDeadline: milliseconds(5_000),
};

export interface BrokerAddress {
  readonly host: string;
  /** 0: it does not listen in plain, or by TLS. */
  readonly port: number;
  readonly tlsPort: number;
}

interface Child {
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
  started: boolean;
  unansweredPings: number;
  /** Why it did not come up, if it said so. */
  failure: FleetError | undefined;
}

/**
 * Keeps the broker process running: restarts it when it dies or hangs, on the same port, with the same users.
 *
 * With an `external` broker the process takes in telemetry only, and users are that broker's own business.
 */
export class BrokerSupervisor {
  readonly #options: BrokerSupervisorOptions;
  readonly #timing: SupervisorTiming;
  readonly #observations = new Subject<readonly TelemetryObservation[]>();
  readonly #events = new Subject<BrokerEvent>();
  readonly #appliedVersion = new BehaviorSubject(-1);
  #users: readonly BrokerUser[] = [];
  #version = 0;
  #port: number | 'none';
  #tls: TlsEndpoint | undefined;
  #child: Child | undefined;
  #backoff: Milliseconds;
  #startedAt: ReturnType<Clock['now']>;
  #state: 'idle' | 'running' | 'stopped' = 'idle';
  #cancelRestart: (() => void) | undefined;
  #cancelPings: (() => void) | undefined;

  constructor(options: BrokerSupervisorOptions) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#port = options.port;
    this.#tls = options.tls;
    this.#backoff = this.#timing.firstBackoff;
    this.#startedAt = options.clock.now();
  }

  /** Newest telemetry values, at most one batch per 250 ms. */
  get observations$(): Observable<readonly TelemetryObservation[]> {
    return this.#observations.asObservable();
  }

  get events$(): Observable<BrokerEvent> {
    return this.#events.asObservable();
  }

  /** Process id of the broker while it lives. */
  get pid(): number | undefined {
    return this.#child?.process.pid;
  }

  /**
   * Resolves once the broker listens, with its address. Rejects with `port.taken`, `config.invalid` for an address that
   * this machine has not, or `broker.unreachable` when the process does not come up in time; nothing runs then.
   */
  async start(): Promise<BrokerAddress> {
    if (this.#state !== 'idle') throw new FleetError('internal.invariant', 'broker supervisor started twice');
    this.#state = 'running';
    const listening = new Promise<BrokerAddress>((resolve, reject) => {
      this.#spawn({ onStarted: resolve, onFailed: reject });
    });
    try {
      const at = await this.#within(listening, 'start');
      this.#cancelPings = this.#options.clock.every(this.#timing.pingEvery, () => this.#ping());
      return at;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Replaces all users; resolves once they are in force. While the broker is being restarted that is when it is up
   * again; after 20 s rejects with `broker.unreachable`, and they come into force at the next start all the same.
   */
  async setUsers(users: readonly BrokerUser[]): Promise<void> {
    this.#users = users;
    this.#version += 1;
    const version = this.#version;
    // Before the start there is nobody to tell: the start carries them. After the stop nobody has to know.
    if (this.#state !== 'running') return;
    if (this.#child?.started === true) this.#send({ kind: 'users', users, version });
    const applied = firstValueFrom(this.#appliedVersion.pipe(filter((current) => current >= version)));
    await this.#within(applied, 'take its users');
  }

  /** What the broker shows of itself from now on. */
  setMaterial(material: TlsMaterial): void {
    if (this.#tls === undefined) return;
    this.#tls = { ...this.#tls, material };
    this.#send({ kind: 'material', material });
  }

  /** Ends the broker and waits until its process is gone. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#cancelRestart?.();
    this.#cancelPings?.();
    const child = this.#child;
    if (child !== undefined) {
      this.#send({ kind: 'stop' });
      const cancelKill = this.#options.clock.after(this.#timing.stopDeadline, () => child.process.kill('SIGKILL'));
      await child.exited;
      cancelKill();
    }
    this.#observations.complete();
    this.#events.complete();
    this.#appliedVersion.error(new FleetError('broker.unreachable', 'the broker has been stopped'));
  }

  #spawn(first?: { onStarted: (at: BrokerAddress) => void; onFailed: (error: Error) => void }): void {
    const program = fork(processEntry(import.meta.url, './process-broker-main.js'), [], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [...SERVING_ARGUMENTS],
    });
    let exited = (): void => {};
    const child: Child = {
      process: program,
      exited: new Promise((resolve) => (exited = resolve)),
      started: false,
      unansweredPings: 0,
      failure: undefined,
    };
    this.#child = child;
    this.#startedAt = this.#options.clock.now();
    // `error` without `exit`: the process could not be started at all.
    program.once('error', () => this.#gone(child, null, null, first?.onFailed, exited));
    program.once('exit', (code, signal) => this.#gone(child, code, signal, first?.onFailed, exited));
    program.on('message', (message: FromBroker) => {
      if (message.kind === 'started') first?.onStarted(message);
      this.#receive(child, message);
    });
    const { host, fleet, telemetry, external, retention } = this.#options;
    const start: BrokerStart = { host, port: this.#port, fleet, telemetry, retentionMs: retention };
    this.#send({
      kind: 'start',
      start: {
        ...start,
        ...(external === undefined ? {} : { external }),
        ...(this.#tls === undefined ? {} : { tls: this.#tls }),
      },
      users: this.#users,
      version: this.#version,
    });
  }

  #receive(child: Child, message: FromBroker): void {
    child.unansweredPings = 0;
    switch (message.kind) {
      case 'started':
        child.started = true;
        if (this.#port !== 'none') this.#port = message.port;
        if (this.#tls !== undefined) this.#tls = { ...this.#tls, port: message.tlsPort };
        this.#emit({ kind: 'listening', host: message.host, port: message.port, tlsPort: message.tlsPort });
        this.#applied(message.version);
        // Users that changed while the process was starting.
        if (message.version < this.#version) this.#send({ kind: 'users', users: this.#users, version: this.#version });
        return;
      case 'failed':
        child.failure = new FleetError(
          message.code,
          message.message,
          message.hint === undefined ? {} : { hint: message.hint },
        );
        return;
      case 'users-set':
        this.#applied(message.version);
        return;
      case 'observations':
        this.#observations.next(message.observations);
        return;
      case 'events':
        for (const event of message.events) this.#emit(event);
        return;
      case 'pong':
        return;
      default:
        unreachable(message);
    }
  }

  #gone(
    child: Child,
    code: number | null,
    signal: string | null,
    onFirstFailure: ((error: Error) => void) | undefined,
    exited: () => void,
  ): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    exited();
    if (this.#state === 'stopped') return;
    if (!child.started && onFirstFailure !== undefined) {
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      onFirstFailure(child.failure ?? new FleetError('broker.unreachable', `broker process ended at start: ${how}`));
      return;
    }
    const { clock } = this.#options;
    if (elapsed(this.#startedAt, clock.now()) >= this.#timing.stableAfter) this.#backoff = this.#timing.firstBackoff;
    const delay = this.#backoff;
    this.#backoff = milliseconds(Math.min(2 * delay, this.#timing.longestBackoff));
    const hung = child.unansweredPings >= this.#mostSilent(child);
    const crash = child.failure?.code === 'port.taken' ? 'port-taken' : 'crashed';
    this.#emit({ kind: 'exited', reason: hung ? 'hung' : crash, code, signal, restartInMs: delay });
    this.#cancelRestart = clock.after(delay, () => this.#spawn());
  }

  #ping(): void {
    const child = this.#child;
    if (child === undefined) return;
    // Counted in askings, not in time: when this process itself stood still, the answers are merely unread.
    if (child.unansweredPings >= this.#mostSilent(child)) child.process.kill('SIGKILL');
    else {
      child.unansweredPings += 1;
      this.#send({ kind: 'ping' });
    }
  }

  /** A process that is starting has the time of a start to answer. */
  #mostSilent({ started }: Child): number {
    const { silentPings, deadline, pingEvery } = this.#timing;
    return started ? silentPings : Math.max(silentPings, Math.ceil(deadline / pingEvery));
  }

  #send(message: ToBroker): void {
    const program = this.#child?.process;
    // A failed send means that the process is going: its exit is what we act on.
    if (program?.connected === true) program.send(message, () => {});
  }

  #applied(version: number): void {
    if (version > this.#appliedVersion.value) this.#appliedVersion.next(version);
  }

  #emit(event: BrokerEvent): void {
    const { kind, ...fields } = event;
    const quiet = kind === 'session' || kind === 'listening';
    if (quiet) this.#options.log.info(`broker.${kind}`, fields);
    else this.#options.log.warn(`broker.${kind}`, fields);
    this.#events.next(event);
  }

  async #within<T>(work: Promise<T>, what: string): Promise<T> {
    let cancel = (): void => {};
    const late = new Promise<never>((_resolve, reject) => {
      cancel = this.#options.clock.after(this.#timing.deadline, () =>
        reject(
          new FleetError('broker.unreachable', `the broker did not ${what} within ${this.#timing.deadline} ms`, {
            retryable: true,
          }),
        ),
      );
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }
}
