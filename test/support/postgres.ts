import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from './free-port.ts';
import { until } from './running-fleet.ts';

export const NO_POSTGRES = 'PostgreSQL is not installed; apt-get install postgresql runs this too';

const PROGRAMS = programsFolder();
export const hasPostgres = PROGRAMS !== undefined;

/** A real PostgreSQL server at one port, started and killed as often as a test likes. Everybody is let in. */
export interface Postgres {
  /** Of an empty database of its own. */
  readonly url: string;
  start(): Promise<void>;
  /** kill -9 of the server and of what it has started. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

export async function makePostgres(): Promise<Postgres> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-postgres-'));
  const as = await userOf(folder);
  const data = join(folder, 'data');
  const initdb = ['-D', data, '-U', 'fleetgate', '-A', 'trust', '--no-sync', '--no-locale', '-E', 'UTF8'];
  execFileSync(join(PROGRAMS ?? '', 'initdb'), initdb, { ...as, cwd: folder, stdio: 'ignore' });
  let program: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    const ending = program;
    program = undefined;
    if (ending === undefined) return;
    const exited = once(ending, 'exit');
    // At once: what is open is cut off, and what was written is in the log.
    ending.kill('SIGQUIT');
    await exited;
  };
  return {
    url: `postgres://fleetgate@127.0.0.1:${port}/postgres`,
    start: async () => {
      const settings = ['fsync=off', 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`];
      const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])];
      program = spawn(join(PROGRAMS ?? '', 'postgres'), args, { ...as, cwd: folder, stdio: 'ignore' });
      const asked = ['-q', '-h', '127.0.0.1', '-p', String(port)];
      await until(
        () => spawnSync(join(PROGRAMS ?? '', 'pg_isready'), asked).status === 0,
        'PostgreSQL takes connections',
      );
    },
    stop,
    remove: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Newest first. */
function programsFolder(): string | undefined {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(root, version, 'bin')),
    '/usr/local/pgsql/bin',
    '/opt/homebrew/bin',
  ];
  return folders.find((folder) => existsSync(join(folder, 'initdb')));
}

/** The server does not run as root. */
async function userOf(folder: string): Promise<{ readonly uid?: number; readonly gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const [uid = 0, gid = 0] = ['-u', '-g'].map((what) =>
    Number(execFileSync('id', [what, 'postgres'], { encoding: 'utf8' })),
  );
  await chown(folder, uid, gid);
  await chmod(folder, 0o755);
  return { uid, gid };
}
