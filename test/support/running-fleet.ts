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
  const child = spawn(
    process.execPath,
    [
      FLEETGATE,
      'up',
      '--json',
      '--http-port',
      '0',
      '--mqtt-port',
      '0',
      '--data',
      dataDir,
      '--fleet',
      String(options.devices ?? 3),
      ...(options.args ?? []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  const ready = await new Promise<{ dashboard: string; mqtt: string; plan: string }>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as { event: string; dashboard: string; mqtt: string; plan: string };
      if (message.event === 'ready') resolve(message);
    });
    child.once('exit', (code) => reject(new Error(`fleetgate up ended with ${code}:\n${said}`)));
  });
  const pid = child.pid ?? 0;
  return {
    url: ready.dashboard.replace(/\/$/, ''),
    mqttUrl: ready.mqtt,
    dataDir,
    planId: ready.plan,
    pid,
    said: () => said,
    stop: async () => {
      const family = descendants(pid);
      const code = await endOf(child);
      await until(() => family.every((member) => !isAlive(member)), 'every process of the fleet is gone');
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
      return code;
    },
  };
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

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
