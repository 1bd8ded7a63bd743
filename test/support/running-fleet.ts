import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const FLEETGATE = fileURLToPath(new URL('../../controller/bin/fleetgate.mjs', import.meta.url));

export interface RunningFleet {
  readonly url: string;
  readonly mqttUrl: string;
  readonly dataDir: string;
  readonly planId: string;
  /** Process id of `fleetgate up`. */
  readonly pid: number;
  /** What it printed for a person so far. */
  said(): string;
  /** Ctrl-C, as a user would; resolves with the exit code when everything it started is gone. */
  stop(): Promise<number | null>;
}

/** Starts `fleetgate up` on free ports in a new folder (or `dataDir`), as a user would, and waits for its ready line. */
export async function startFleet(
  options: { readonly devices?: number; readonly dataDir?: string; readonly args?: readonly string[] } = {},
): Promise<RunningFleet> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'fleetgate-e2e-'));
  const ports = ['--http-port', '0', '--mqtt-port', '0'];
  const up = startFleetgate<{ dashboard: string; mqtt: string; plan: string }>([
    'up',
    ...ports,
    '--data',
    dataDir,
    '--fleet',
    String(options.devices ?? 3),
    ...(options.args ?? []),
  ]);
  const first = await up.first;
  return {
    url: first.dashboard.replace(/\/$/, ''),
    mqttUrl: first.mqtt,
    dataDir,
    planId: first.plan,
    pid: up.pid,
    said: () => up.said(),
    stop: async () => {
      const code = await up.stop();
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
      return code;
    },
  };
}

export interface RunningProcess<First> {
  readonly pid: number;
  /** The JSON document that it prints when it serves. */
  readonly first: Promise<First>;
  /** What it printed for a person so far. */
  said(): string;
  /** Ctrl-C; resolves with the exit code when it and everything it started is gone. */
  stop(): Promise<number | null>;
}

/** Starts a command that goes on. */
export function startFleetgate<First>(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): RunningProcess<First> {
  const child = spawn(process.execPath, [FLEETGATE, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  const first = new Promise<First>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as First));
    child.once('exit', (code) => reject(new Error(`fleetgate ${args[0]} ended with ${code}:\n${said}`)));
  });
  first.catch(() => {});
  const pid = child.pid ?? 0;
  const stop = async (): Promise<number | null> => {
    const family = descendants(pid);
    const code = await endOf(child);
    await until(() => family.every((member) => !isAlive(member)), 'every process that it started is gone');
    return code;
  };
  return { pid, first, said: () => said, stop };
}

/** Runs one `fleetgate` command to its end. */
export async function fleetgate(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [FLEETGATE, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

/** Waits until `holds` is true, or fails naming `what` was waited for. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`gave up after ${timeoutMs / 1000} s waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** Process ids below `pid` whose command line matches, children of children included. */
export function descendants(pid: number, commandLine = /./): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readOrNothing(`/proc/${name}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    parents.set(Number(name), parent);
  }
  const isBelow = (candidate: number): boolean => {
    for (let at = parents.get(candidate); at !== undefined && at > 1; at = parents.get(at)) if (at === pid) return true;
    return false;
  };
  return [...parents.keys()].filter(
    (candidate) =>
      isBelow(candidate) && commandLine.test(readOrNothing(`/proc/${candidate}/cmdline`).replaceAll('\0', ' ')),
  );
}

export function isAlive(pid: number): boolean {
  const stat = readOrNothing(`/proc/${pid}/stat`);
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}

async function endOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  return await new Promise((resolve) => {
    child.once('exit', (code) => resolve(code));
    child.kill('SIGINT');
  });
}

/** What a file holds; nothing when it is gone. */
export function readOrNothing(path: string, encoding: BufferEncoding = 'utf8'): string {
  try {
    return readFileSync(path, encoding);
  } catch {
    return '';
  }
}
