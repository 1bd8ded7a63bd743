import { type Command, InvalidArgumentError, Option } from 'commander';

import { systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { createLogger } from '@fleetgate/shared/logger';
import { startServiceWatchdog } from '@fleetgate/shared/process-service-watchdog';

import { type AgentConfig, defaultDataDir, parseAgentConfig, secretsFromEnvironment } from '../config/config.js';
import { processLauncherLink } from '../launcher/process-launcher-link.js';
import { runAgent, type RunningAgent } from '../main.js';

interface AgentOptions {
  readonly controller: string;
  readonly board: string;
  readonly name: string;
  readonly data?: string;
  readonly token?: string;
  readonly engine: string;
  readonly engineUrl?: string;
  readonly engineModel: Readonly<Record<string, string>>;
  readonly threads?: number;
  readonly sequences?: number;
  readonly gpu: string;
  readonly releaseKeys?: string;
  readonly seed?: AgentConfig['seed'];
  readonly transferRate?: number;
  readonly signedOnly?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

/** Adds `agent`: the daemon of one device, until it is told to stop. */
export function registerAgent(program: Command): void {
  program
    .command('agent')
    .description('run the agent of one device: hosts variants, runs jobs, reports to its controller')
    .requiredOption('--controller <url>', 'address of the controller, for example http://192.168.1.10:8080')
    .option('--board <id>', 'board profile, or auto to recognise this machine', 'auto')
    .requiredOption('--name <name>', 'name of this device, unique in its fleet')
    .option('--data <dir>', 'folder of this agent alone (default: .fleetgate/agents/NAME)')
    .option('--token <token>', 'join token, needed once (better: FLEETGATE_JOIN_TOKEN)')
    .addOption(new Option('--engine <kind>', 'what runs the models').choices(['llama', 'http']).default('llama'))
    .option('--engine-url <url>', 'with --engine http: an OpenAI-compatible server, for example http://127.0.0.1:8081')
    .option('--engine-model <variant=model>', 'with --engine http: name of a variant there; repeatable', addModel, {})
    .option('--threads <n>', 'threads of the llama engine (default: by the board)', positiveInteger)
    .option('--sequences <n>', 'answers of a variant that the llama engine batches (default: 1)', positiveInteger)
    .addOption(new Option('--gpu <use>', 'GPU of the llama engine').choices(['off', 'auto']).default('off'))
    .option('--release-keys <file>', 'ed25519 public keys (PEM) whose releases this device takes')
    .option('--signed-only', 'refuse builds of experts that come without a signed release')
    .option(
      '--seed <address:port>',
      'serve artefacts to other devices of the fleet at an address of this one',
      addressAndPort,
    )
    .option(
      '--transfer-rate <kB/s>',
      'most that is fetched, and most that is served, a second (default: no bound)',
      positiveInteger,
    )
    .addOption(
      new Option('--log-level <level>', 'least that is logged, as JSON lines on standard error')
        .choices(['error', 'warn', 'info', 'debug', 'silent'])
        .default('info'),
    )
    .option('--json', 'print one JSON document on standard output once the agent serves')
    .action(async (options: AgentOptions) => serve(configOf(options), options.json === true ? 'json' : 'text'));
}

function configOf(options: AgentOptions): AgentConfig {
  const secrets = secretsFromEnvironment();
  const token = options.token ?? secrets.token;
  return parseAgentConfig({
    controllerUrl: options.controller,
    board: options.board,
    name: options.name,
    dataDir: options.data ?? defaultDataDir(options.name),
    ...(token === undefined ? {} : { token }),
    engine: engineOf(options, secrets.apiKey),
    ...(options.releaseKeys === undefined ? {} : { releaseKeysFile: options.releaseKeys }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.transferRate === undefined ? {} : { transferBytesPerS: options.transferRate * 1000 }),
    signedOnly: options.signedOnly ?? false,
    logLevel: options.logLevel,
  });
}

function engineOf(options: AgentOptions, apiKey: string | undefined): object {
  if (options.engine === 'http') {
    if (options.engineUrl === undefined) {
      throw new FleetError('usage.invalid', '--engine http: expected --engine-url, got none', {
        hint: 'give the address of llama-server, Ollama or another OpenAI-compatible server on this device',
      });
    }
    const key = apiKey === undefined ? {} : { apiKey };
    return { kind: 'http', baseUrl: options.engineUrl, models: options.engineModel, ...key };
  }
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  const sequences = options.sequences === undefined ? {} : { sequences: options.sequences };
  return { kind: 'llama', gpu: options.gpu, ...threads, ...sequences };
}

async function serve(config: AgentConfig, form: 'json' | 'text'): Promise<void> {
  const log = createLogger('agent', config.logLevel);
  const stopWatchdog = startServiceWatchdog(process.env, systemClock, log);
  const waiting = new AbortController();
  let agent: RunningAgent | undefined;
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const stop = (): void => {
    waiting.abort();
    end();
  };
  const signals = ['SIGTERM', 'SIGINT'] as const;
  for (const signal of signals) process.on(signal, stop);
  if (process.connected) process.once('disconnect', stop);
  try {
    agent = await runAgent(config, { log, signal: waiting.signal, launcher: processLauncherLink });
    void agent.ready.then(
      () => announce(agent, config, form),
      () => {},
    );
    await ended;
  } catch (error) {
    // Told to stop while it waited for its controller: that is no failure.
    if (!waiting.signal.aborted) throw error;
  } finally {
    await agent?.stop();
    stopWatchdog();
    for (const signal of signals) process.removeListener(signal, stop);
    process.removeListener('disconnect', stop);
    if (process.connected) process.disconnect();
  }
}

function announce(agent: RunningAgent | undefined, config: AgentConfig, form: 'json' | 'text'): void {
  if (agent === undefined) return;
  process.send?.({ kind: 'agent-ready' });
  const { deviceId, board } = agent;
  const text = `agent ${deviceId} (${board.title}) serves ${config.controllerUrl}`;
  const line = form === 'json' ? JSON.stringify({ deviceId, board: board.id, controller: config.controllerUrl }) : text;
  process.stdout.write(`${line}\n`);
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected a whole number of 1 or more');
  return value;
}

function addressAndPort(text: string): NonNullable<AgentConfig['seed']> {
  const [, host, port] = /^\[?([^[\]]+?)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined) throw new InvalidArgumentError('expected ADDRESS:PORT, for example 192.168.1.20:7070');
  return { host, port: Number(port) };
}

function addModel(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('expected VARIANT=MODEL');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
