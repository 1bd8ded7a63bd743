import { type ChildProcess, fork } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  type WriteStream,
} from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { FleetError } from '@fleetgate/shared/errors';
import { SERVING_ARGUMENTS } from '@fleetgate/shared/process-entry';

const FLEETGATE = fileURLToPath(new URL('../../bin/fleetgate.mjs', import.meta.url));
const START_DEADLINE_MS = 60_000;
/** Requests under way are given a while. */
const STOP_DEADLINE_MS = 15_000;
const LOG_LIMIT_BYTES = 8 * 1024 * 1024;
/** A process that dies more often than this within a minute is not started again. */
const MAX_RESTARTS_PER_MINUTE = 5;

/** The boards of a local fleet, in the order in which devices are added; further devices repeat them. */
const LOCAL_BOARDS = [
  { name: 'jetson', board: 'jetson-orin-nano' },
  { name: 'pi', board: 'raspberry-pi-5' },
  { name: 'phone', board: 'android-phone' },
] as const;

export interface LocalFleetOptions {
  readonly dataDir: string;
  readonly host: string;
  readonly httpPort: number;
  readonly mqttPort: number;
  /** Number of agents on this machine. */
  readonly devices: number;
  readonly logLevel: string;
  /** Tells a person what happens. */
  readonly say: (text: string) => void;
  /** Where a process is to be run, for those that are not to be run as this one. */
  readonly surroundings?: (name: string) => Surroundings;
}

export interface Surroundings {
  /** What its command line begins with, for example another network namespace; empty for nothing. */
  readonly entry: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface Listening {
  readonly httpUrl: string;
  readonly mqttUrl: string;
  readonly mqttTlsUrl?: string | undefined;
}

/**
 * A controller and agents as child processes of this one: starts them, restarts what dies, stops them all.
 *
 * Children end by themselves when this process disappears: they watch their IPC channel.
 */
export class LocalFleet {
  readonly #options: LocalFleetOptions;
  readonly #children = new Map<string, ChildProcess>();
  /** Pauses before starts of what was killed here, ms. */
  readonly #pauses = new Map<string, number>();
  #stopping = false;
  #listening: Listening | undefined;
  /** Rejects when a child cannot be kept alive. */
  readonly failed: Promise<never>;
  #fail: (error: FleetError) => void = () => {};

  constructor(options: LocalFleetOptions) {
    this.#options = options;
    this.failed = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
  }

  /** The controller's own key, once it listens; undefined where it has made none. */
  get apiKey(): string | undefined {
    const made = join(this.#options.dataDir, 'controller', 'api-key');
    return process.env['FLEETGATE_API_KEY'] ?? (existsSync(made) ? readFileSync(made, 'utf8').trim() : undefined);
  }

  /** Starts the controller, waits until it listens, then starts the agents. */
  async start(): Promise<Listening> {
    const { host, httpPort, mqttPort, dataDir, devices } = this.#options;
    const listening = await new Promise<Listening>((resolve, reject) => {
      const deadline = setTimeout(
        () =>
          reject(
            new FleetError(
              'controller.unreachable',
              `the controller did not listen within ${START_DEADLINE_MS / 1000} s`,
              { hint: `its log is ${this.#logPath('controller')}` },
            ),
          ),
        START_DEADLINE_MS,
      );
      const settle = <T>(done: (value: T) => void, value: T): void => {
        clearTimeout(deadline);
        done(value);
      };
      this.failed.catch((error: unknown) => settle(reject, error));
      this.#run(
        'controller',
        () => {
          // After the first start the ports are fixed, so that agents find a restarted controller where it was.
          const ports =
            this.#listening === undefined
              ? { http: httpPort, mqtt: mqttPort, mqtts: undefined }
              : portsOf(this.#listening);
          return [
            'controller',
            '--data',
            join(dataDir, 'controller'),
            '--host',
            host,
            '--http-port',
            String(ports.http),
            '--mqtt-port',
            String(ports.mqtt),
            ...(ports.mqtts === undefined ? [] : ['--mqtts-port', String(ports.mqtts)]),
            '--log-level',
            this.#options.logLevel,
          ];
        },
        {},
        (message) => {
          if (!isListening(message)) return;
          const { httpUrl, mqttUrl, mqttTlsUrl } = message;
          this.#listening = { httpUrl, mqttUrl, mqttTlsUrl };
          settle(resolve, this.#listening);
        },
      );
    });
    const token = readFileSync(join(dataDir, 'controller', 'join-token'), 'utf8').trim();
    // The agents share this machine's cores: llama.cpp's threads spin at barriers, and more of them than cores cost dearly.
    const threads = Math.max(1, Math.floor(cpus().length / (devices + 1)));
    for (let i = 0; i < devices; i++) {
      const { name, board } = localDevice(i);
      this.#run(
        name,
        () => [
          'agent',
          '--controller',
          listening.httpUrl,
          '--board',
          board,
          '--name',
          name,
          '--data',
          join(dataDir, 'agents', name),
          '--threads',
          String(threads),
          '--log-level',
          this.#options.logLevel,
        ],
        { FLEETGATE_JOIN_TOKEN: token },
      );
    }
    return listening;
  }

  /** Stops agents, then the controller; kills what does not stop within 10 s. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const agents = [...this.#children].filter(([name]) => name !== 'controller').map(([, child]) => child);
    await Promise.all(agents.map((child) => endOf(child)));
    const controller = this.#children.get('controller');
    if (controller !== undefined) await endOf(controller);
  }

  /** Process ids by name; what is down at the moment is missing. */
  pids(): ReadonlyMap<string, number> {
    return new Map([...this.#children].flatMap(([name, { pid }]) => (pid === undefined ? [] : [[name, pid] as const])));
  }

  /** As a fault would: started again after `awayMs`. */
  kill(name: string, awayMs: number): void {
    this.#pauses.set(name, awayMs);
    this.#children.get(name)?.kill('SIGKILL');
  }

  signal(name: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#children.get(name)?.kill(signal);
  }

  #run(
    name: string,
    args: () => string[],
    environment: Record<string, string>,
    onMessage: (message: unknown) => void = () => {},
  ): void {
    const log = this.#openLog(name);
    const deaths: number[] = [];
    const start = (): void => {
      this.#pauses.delete(name);
      const around = this.#options.surroundings?.(name);
      const [program, ...before] = [...(around?.entry ?? []), process.execPath];
      const child = fork(FLEETGATE, args(), {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        execPath: program,
        execArgv: [...before, ...process.execArgv, ...SERVING_ARGUMENTS],
        env: { ...process.env, ...environment, ...around?.environment },
      });
      this.#children.set(name, child);
      let lastWords = '';
      if (child.stderr !== null) {
        createInterface({ input: child.stderr }).on('line', (line) => {
          log.write(`${line}\n`);
          // Log lines are JSON; anything else is addressed to a person.
          if (!line.startsWith('{')) lastWords = lastWords === '' ? line : `${lastWords}\n${line}`;
        });
      }
      child.on('message', onMessage);
      child.on('error', (error) =>
        this.#fail(new FleetError('controller.unreachable', `${name} cannot be started: ${error.message}`)),
      );
      child.on('exit', (code, signal) => {
        this.#children.delete(name);
        if (this.#stopping) return;
        const why = signal === null ? `exit code ${code}` : signal;
        const now = Date.now();
        // What was killed here has not died by itself.
        if (!this.#pauses.has(name)) deaths.push(now);
        const recent = deaths.filter((at) => now - at < 60_000).length;
        // Exit codes 1 and 2 before it ever listened are its own verdict: bad usage, taken port, unusable directory.
        const refused = name === 'controller' && this.#listening === undefined && signal === null;
        if (refused || recent > MAX_RESTARTS_PER_MINUTE) {
          this.#fail(
            new FleetError(
              'setup.missing',
              lastWords.replace(/^(?:fleetgate: )?error: /, '') || `${name} ended (${why})`,
              { hint: `the log is ${this.#logPath(name)}` },
            ),
          );
          return;
        }
        this.#options.say(`${name} ended (${why}); starting it again`);
        setTimeout(
          () => {
            if (!this.#stopping) start();
          },
          this.#pauses.get(name) ?? 250 * 2 ** Math.min(recent, 5),
        );
      });
    };
    start();
  }

  #openLog(name: string): WriteStream {
    const path = this.#logPath(name);
    mkdirSync(join(this.#options.dataDir, 'logs'), { recursive: true });
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size > LOG_LIMIT_BYTES) truncateSync(path);
    return createWriteStream(path, { flags: 'a' });
  }

  #logPath(name: string): string {
    return join(this.#options.dataDir, 'logs', `${name}.log`);
  }
}

function localDevice(index: number): { readonly name: string; readonly board: string } {
  const { name, board } = LOCAL_BOARDS[index % LOCAL_BOARDS.length] ?? LOCAL_BOARDS[0];
  const round = Math.floor(index / LOCAL_BOARDS.length) + 1;
  return { name: round === 1 ? name : `${name}-${round}`, board };
}

function portsOf({ httpUrl, mqttUrl, mqttTlsUrl }: Listening): {
  http: number;
  mqtt: number;
  mqtts: number | undefined;
} {
  const mqtts = mqttTlsUrl === undefined ? undefined : portOf(mqttTlsUrl);
  return { http: portOf(httpUrl), mqtt: portOf(mqttUrl), mqtts };
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function isListening(message: unknown): message is Listening & { readonly kind: 'controller-listening' } {
  return (
    typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'controller-listening'
  );
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const kill = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    child.once('exit', () => {
      clearTimeout(kill);
      resolve();
    });
    child.kill('SIGTERM');
  });
}
