import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { FleetError } from '@fleetgate/shared/errors';
import { processEntry, SERVING_ARGUMENTS } from '@fleetgate/shared/process-entry';

import { BARE } from './gateway-figures.js';
import { type Child, startChild } from './process-children.js';
import type { Ready } from './process-server.js';

/** Something that answers POST /v1/chat/completions. */
export interface Target {
  readonly name: string;
  readonly port: number;
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The process whose cost is told. */
  readonly pid: number;
  /** Others that work for it, by name. */
  readonly others: Readonly<Record<string, number>>;
  readonly stop: () => Promise<void>;
}

const FLEETGATE = fileURLToPath(new URL('../../../bin/fleetgate.mjs', import.meta.url));
const PEER_MODEL = 'gpt-4o-mini';
/** Of a first start, which trains the gate. */
const FIRST_ANSWER_DEADLINE_MS = 180_000;
const PAUSE_MS = 500;

export const isReady = (message: unknown): Ready | undefined =>
  (message as { readonly kind?: unknown }).kind === 'ready' ? (message as Ready) : undefined;

export async function startUpstream(): Promise<Target> {
  return peer('direct', await startChild(processEntry(import.meta.url, './process-upstream-main.js'), [], isReady));
}

export async function startRawProxy(upstream: Target): Promise<Target> {
  const entry = processEntry(import.meta.url, './process-raw-proxy-main.js');
  return peer('bare Node proxy', await startChild(entry, [String(upstream.port)], isReady));
}

function peer(name: string, { pid, said, stop }: Child & { readonly said: Ready }): Target {
  return { name, port: said.port, model: PEER_MODEL, headers: {}, pid, others: {}, stop };
}

interface Listening {
  readonly kind: 'controller-listening';
  readonly httpUrl: string;
}

/**
 * A controller as it is shipped, in a folder of its own, with `devices` instant devices at its broker. Resolves when it has
 * answered a first prompt by a plan. `nodeArgs` go to the controller's process, for a profile.
 */
export async function startFleet(devices: number, nodeArgs: readonly string[] = []): Promise<Target> {
  const dataDir = await mkdtemp(join(tmpdir(), 'fleetgate-bench-'));
  const isListening = (message: unknown): Listening | undefined =>
    (message as { readonly kind?: unknown }).kind === 'controller-listening' ? (message as Listening) : undefined;
  const children: Child[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) await child.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  const start = async <T>(...args: Parameters<typeof startChild<T>>): Promise<Child & { readonly said: T }> => {
    const child = await startChild(...args);
    children.push(child);
    return child;
  };
  try {
    const broker = await start(processEntry(import.meta.url, './aedes-open-broker-main.js'), [], isReady);
    const brokerUrl = `mqtt://127.0.0.1:${broker.said.port}`;
    const listenAt = ['--host', '127.0.0.1', '--http-port', '0', '--broker-url', brokerUrl];
    const args = ['controller', '--data', dataDir, ...listenAt, '--log-level', 'warn'];
    const controller = await start(FLEETGATE, args, isListening, { execArgv: [...SERVING_ARGUMENTS, ...nodeArgs] });
    const { httpUrl } = controller.said;
    const token = (await readFile(join(dataDir, 'join-token'), 'utf8')).trim();
    const entry = processEntry(import.meta.url, './process-instant-agents-main.js');
    const agents = await start(entry, [httpUrl, token, String(devices)], isReady);
    await firstAnswer(httpUrl);
    return {
      name: 'fleetgate',
      port: Number(new URL(httpUrl).port),
      model: 'auto',
      headers: {},
      pid: controller.pid,
      others: { broker: broker.pid, devices: agents.pid },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** `devices` instant devices behind a broker and the least that a controller can be; see its entry. */
export async function startBareController(devices: number): Promise<Target> {
  const children: Child[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) await child.stop();
  };
  const start = async (entry: string, args: readonly string[]): Promise<Child & { readonly said: Ready }> => {
    const child = await startChild(processEntry(import.meta.url, entry), args, isReady);
    children.push(child);
    return child;
  };
  try {
    const broker = await start('./aedes-open-broker-main.js', []);
    const brokerUrl = `mqtt://127.0.0.1:${broker.said.port}`;
    const { pid, said } = await start('./process-bare-controller-main.js', [brokerUrl]);
    const url = `http://127.0.0.1:${said.port}`;
    const agents = await start('./process-instant-agents-main.js', [url, 'none', String(devices)]);
    const others = { broker: broker.pid, devices: agents.pid };
    return { name: BARE, port: said.port, model: 'bare', headers: {}, pid, others, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function firstAnswer(url: string): Promise<void> {
  const body = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'How much is 2 + 2?' }], seed: 1 });
  const ask = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  for (const deadline = performance.now() + FIRST_ANSWER_DEADLINE_MS; ;) {
    const response = await fetch(`${url}/v1/chat/completions`, ask);
    const said = await response.text();
    if (response.ok) return;
    if (performance.now() > deadline) {
      throw new FleetError('setup.missing', `the fleet of instant devices does not answer: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
