import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import type { Target } from './process-targets.js';

const VERSION = '1.15.2';
/** Those of its own lock file: with newer ones, which a plain install gets, it answers every stream with 500. */
const PINNED = { hono: '4.9.7', '@hono/node-server': '1.13.5' };
const INSTALL_DEADLINE_MS = 180_000;
const START_DEADLINE_MS = 30_000;
const PAUSE_MS = 100;

/** Portkey's gateway before `upstream`, from npm by way of a cache folder. Throws `setup.missing` where it cannot be had. */
export async function startPortkey(upstream: Target): Promise<Target> {
  const folder = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'fleetgate', `portkey-${VERSION}`);
  const entry = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js');
  if (!existsSync(entry)) await install(folder);
  const port = await freePort();
  const child = spawn(process.execPath, [entry, '--headless', `--port=${port}`], {
    stdio: 'ignore',
    env: { ...process.env, NODE_ENV: 'production' },
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = (): Promise<void> => {
    child.kill('SIGKILL');
    return ended;
  };
  // Unlike the others it has no channel to this process to end with.
  process.once('exit', () => child.kill('SIGKILL'));
  try {
    await listening(port);
  } catch (cause) {
    await stop();
    throw new FleetError('setup.missing', `Portkey did not start: ${messageOf(cause)}`, { cause });
  }
  const headers = {
    authorization: 'Bearer none',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `http://127.0.0.1:${upstream.port}/v1`,
  };
  return { name: 'Portkey', port, model: upstream.model, headers, pid: child.pid ?? -1, others: {}, stop };
}

async function install(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const dependencies = { '@portkey-ai/gateway': VERSION };
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies, overrides: PINNED }));
    await new Promise<void>((resolve, reject) => {
      const npm = spawn('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
        cwd: folder,
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: INSTALL_DEADLINE_MS,
      });
      let words = '';
      npm.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(0, 500)));
      npm.once('error', reject);
      npm.once('close', (code) => (code === 0 ? resolve() : reject(new Error(words || `npm ended with ${code}`))));
    });
  } catch (cause) {
    throw new FleetError('setup.missing', `Portkey ${VERSION} cannot be installed: ${messageOf(cause)}`, { cause });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function listening(port: number): Promise<void> {
  for (const deadline = performance.now() + START_DEADLINE_MS; ;) {
    try {
      await fetch(`http://127.0.0.1:${port}/`);
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
