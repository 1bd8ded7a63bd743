import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';

export interface ProcessMemory {
  readonly pid: number;
  readonly parent: number;
  readonly command: readonly string[];
  /** Memory in use, shared pages included. */
  readonly residentBytes: number;
  /** The most that it ever was. */
  readonly peakBytes: number;
  readonly upSeconds: number;
  /** The same with shared pages divided among their users; undefined where the kernel does not tell us. */
  readonly proportionalBytes: number | undefined;
}

/** Memory of one process from /proc; undefined when there is no such process. */
export async function processMemory(pid: number): Promise<ProcessMemory | undefined> {
  try {
    const [status, command, rollup, stat, uptime] = await Promise.all([
      readFile(`/proc/${pid}/status`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => ''),
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/uptime', 'utf8'),
    ]);
    const residentBytes = kibibytes(status, 'VmRSS');
    if (residentBytes === undefined) return undefined;
    return {
      pid,
      parent: Number(/^PPid:\s+(\d+)/m.exec(status)?.[1] ?? 0),
      command: command.split('\0').filter((part) => part !== ''),
      residentBytes,
      peakBytes: kibibytes(status, 'VmHWM') ?? residentBytes,
      upSeconds: Number.parseFloat(uptime) - startedAfterS(stat),
      proportionalBytes: kibibytes(rollup, 'Pss'),
    };
  } catch {
    return undefined;
  }
}

/** All processes that we may look at. */
export async function allProcesses(): Promise<readonly ProcessMemory[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  return (await Promise.all(pids.map(processMemory))).filter((one) => one !== undefined);
}

/** Memory of a Node process that does nothing: what no daemon written for Node can go below. */
export async function bareNodeMemory(): Promise<ProcessMemory | undefined> {
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("ready"); process.stdin.resume()'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  try {
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const ready = new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
    await Promise.race([ready, ended]);
    return child.pid === undefined ? undefined : await processMemory(child.pid);
  } finally {
    const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }
}

/** Seconds from the machine's start to the process's: field 22 of its stat, in the hundredths that Linux shows to all. */
function startedAfterS(stat: string): number {
  // The second field is a name in parentheses that may hold anything.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / 100;
}

function kibibytes(text: string, field: string): number | undefined {
  const value = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1];
  return value === undefined ? undefined : Number(value) * 1024;
}
