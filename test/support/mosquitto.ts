import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { vi } from 'vitest';

import { freePort } from './free-port.ts';

export const NO_MOSQUITTO = 'mosquitto is not installed; apt-get install mosquitto runs this too';

const FOLDERS = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/sbin'];
const PROGRAM = FOLDERS.map((folder) => join(folder, 'mosquitto')).find((path) => existsSync(path));

export const hasMosquitto = PROGRAM !== undefined;

/** A real mosquitto at one port, started and killed as often as a test likes. */
export interface Mosquitto {
  readonly url: string;
  /** For the files that the controller writes; prepared as docs/external-broker.md says. */
  readonly filesDir: string;
  /** Sets the lines of its configuration that come after the listener; in force from the next start on. */
  configure(lines: string): Promise<void>;
  start(): Promise<void>;
  /** Has it read its password and ACL files again. */
  reload(): void;
  /** kill -9. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

export async function makeMosquitto(): Promise<Mosquitto> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-mosquitto-'));
  const configPath = join(folder, 'mosquitto.conf');
  const filesDir = join(folder, 'files');
  await chmod(folder, 0o755);
  await mkdir(filesDir);
  await letMosquittoRead(filesDir);
  let program: ReturnType<typeof spawn> | undefined;
  const stop = async (): Promise<void> => {
    const ending = program;
    program = undefined;
    if (ending === undefined) return;
    const exited = once(ending, 'exit');
    ending.kill('SIGKILL');
    await exited;
  };
  return {
    url: `mqtt://127.0.0.1:${port}`,
    filesDir,
    configure: (lines) => writeFile(configPath, `listener ${port} 127.0.0.1\n${lines}`),
    start: async () => {
      program = spawn(PROGRAM ?? '', ['-c', configPath], { stdio: 'ignore' });
      await vi.waitFor(() => isListening(port), { timeout: 10_000 });
    },
    reload: () => void program?.kill('SIGHUP'),
    stop,
    remove: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Started by root, it gives up root before it reads its files. */
async function letMosquittoRead(folder: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const group = /^mosquitto:[^:]*:(\d+):/m.exec(await readFile('/etc/group', 'utf8'))?.[1];
  if (group === undefined) throw new Error('there is no group mosquitto on this machine');
  await chown(folder, 0, Number(group));
  await chmod(folder, 0o2750);
}

async function isListening(port: number): Promise<void> {
  const socket = connectSocket(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}
