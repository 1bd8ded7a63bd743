import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { messageOf } from '@fleetgate/shared/errors';

const run = promisify(execFile);
/** The usual one of SD cards and flash; this machine's own disk may have another. */
const READ_AHEAD_KB = 128;
const IMAGE_SPARE_BYTES = 512 * 1024 * 1024;
const REMOVAL_TRIES = 50;

/** Where model files lie for the time of a benchmark. */
export interface BenchStorage {
  readonly folder: string;
  /** Major and minor number, as control groups name it. */
  readonly device: string;
  readonly readAheadKb: number | undefined;
  /** What it could not have, for the report. */
  readonly notes: readonly string[];
  remove(): Promise<void>;
}

/**
 * A file system of its own on a loop device, so that read-ahead can be set as flash has it without touching the machine's
 * disk; a folder in `parent` where that is not allowed (it takes root).
 */
export async function openStorage(parent: string | undefined, sizeBytes: number): Promise<BenchStorage> {
  const folder = await mkdtemp(join(parent ?? tmpdir(), 'fleetgate-bench-offload-'));
  const image = join(folder, 'image');
  const mount = join(folder, 'mount');
  let device: string | undefined;
  const remove = async (): Promise<void> => {
    if (device !== undefined) {
      await run('umount', [mount]).catch(() => run('umount', ['-l', mount]).catch(() => undefined));
      await run('losetup', ['-d', device]).catch(() => undefined);
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await mkdir(mount);
    await run('fallocate', ['-l', String(sizeBytes + IMAGE_SPARE_BYTES), image]);
    const { stdout } = await run('losetup', ['--find', '--show', '--direct-io=on', image]);
    device = stdout.trim();
    await run('mkfs.ext4', ['-q', '-m0', device]);
    await run('mount', ['-o', 'noatime', device, mount]);
    await writeFile(`/sys/block/${device.replace('/dev/', '')}/queue/read_ahead_kb`, String(READ_AHEAD_KB));
    return { folder: mount, ...(await deviceOf(mount)), notes: [], remove };
  } catch (error) {
    if (device !== undefined) await run('losetup', ['-d', device]).catch(() => undefined);
    device = undefined;
    await rm(image, { force: true });
    const why = messageOf(error).split('\n')[0] ?? '';
    return { folder, ...(await deviceOf(folder)), notes: [`no loop device of its own (${why})`], remove };
  }
}

/** Device of a folder, and its read-ahead. */
export async function deviceOf(
  folder: string,
): Promise<{ readonly device: string; readonly readAheadKb: number | undefined }> {
  const { dev } = await stat(folder, { bigint: true });
  const major = Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn));
  const minor = Number((dev & 0xffn) | ((dev >> 12n) & ~0xffn));
  const device = `${major}:${minor}`;
  const text = await readFile(`/sys/dev/block/${device}/queue/read_ahead_kb`, 'utf8').catch(() =>
    // A partition has its disk's.
    readFile(`/sys/dev/block/${device}/../queue/read_ahead_kb`, 'utf8').catch(() => ''),
  );
  return { device, readAheadKb: text === '' ? undefined : Number(text) };
}

/** A control group of one process. */
export interface Sandbox {
  /** What of memory limit and throttling there is. */
  readonly limitsMemory: boolean;
  readonly throttles: boolean;
  add(pid: number): Promise<void>;
  /** Undefined: as fast as it can. */
  throttle(bytesPerSecond: number | undefined): Promise<void>;
  remove(): Promise<void>;
}

const ROOT = '/sys/fs/cgroup';
/** Version 1 cannot take a limit back by a word; this is none in practice. */
const UNTHROTTLED = 1e12;

/** With version 1 or 2 of control groups, whichever there is. What cannot be made is left out and said in the result. */
export async function openSandbox(name: string, memoryBytes: number | undefined, device: string): Promise<Sandbox> {
  const isUnified = existsSync(join(ROOT, 'cgroup.controllers'));
  return isUnified ? unified(name, memoryBytes, device) : separate(name, memoryBytes, device);
}

async function unified(name: string, memoryBytes: number | undefined, device: string): Promise<Sandbox> {
  const own = /^0::(.*)$/m.exec(await readFile('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const group = await firstMade([join(ROOT, own, '..'), ROOT], name, async (parent) => {
    await writeFile(join(parent, 'cgroup.subtree_control'), '+memory +io');
  });
  const write = async (file: string, text: string): Promise<boolean> => tryWrite(group, file, text);
  const limitsMemory = memoryBytes !== undefined && (await write('memory.max', String(memoryBytes)));
  await write('memory.swap.max', '0');
  const throttles = await write('io.max', `${device} rbps=max`);
  return {
    limitsMemory,
    throttles,
    add: async (pid) => void (await write('cgroup.procs', String(pid))),
    throttle: async (bytes) => void (await write('io.max', `${device} rbps=${bytes ?? 'max'}`)),
    remove: () => removeGroup(group),
  };
}

async function separate(name: string, memoryBytes: number | undefined, device: string): Promise<Sandbox> {
  const text = await readFile('/proc/self/cgroup', 'utf8');
  const made = async (controller: string): Promise<string | undefined> => {
    const own = new RegExp(`^\\d+:(?:[^:]*,)?${controller}(?:,[^:]*)?:(.*)$`, 'm').exec(text)?.[1] ?? '/';
    return firstMade([join(ROOT, controller, own), join(ROOT, controller)], name);
  };
  const [memory, blkio] = [await made('memory'), await made('blkio')];
  const limitsMemory =
    memoryBytes !== undefined && (await tryWrite(memory, 'memory.limit_in_bytes', String(memoryBytes)));
  const throttle = (bytes: number | undefined): Promise<boolean> =>
    tryWrite(blkio, 'blkio.throttle.read_bps_device', `${device} ${bytes ?? UNTHROTTLED}`);
  return {
    limitsMemory,
    throttles: await throttle(undefined),
    add: async (pid) => {
      for (const group of [memory, blkio]) await tryWrite(group, 'cgroup.procs', String(pid));
    },
    throttle: async (bytes) => void (await throttle(bytes)),
    remove: async () => {
      for (const group of [memory, blkio]) await removeGroup(group);
    },
  };
}

async function firstMade(
  parents: readonly string[],
  name: string,
  prepare?: (parent: string) => Promise<void>,
): Promise<string | undefined> {
  for (const parent of parents) {
    const group = join(parent, name);
    try {
      await prepare?.(parent);
      await mkdir(group);
      return group;
    } catch {
      // The next parent may allow it.
    }
  }
  return undefined;
}

async function tryWrite(group: string | undefined, file: string, text: string): Promise<boolean> {
  if (group === undefined) return false;
  return writeFile(join(group, file), text).then(
    () => true,
    () => false,
  );
}

/** A group can be removed once its last process is wholly gone, which takes a moment. */
async function removeGroup(group: string | undefined): Promise<void> {
  if (group === undefined) return;
  for (let tries = 0; tries < REMOVAL_TRIES; tries++) {
    if (
      await rmdir(group).then(
        () => true,
        () => !existsSync(group),
      )
    )
      return;
    await tryWrite(group, 'memory.force_empty', '0');
    await sleep(100);
  }
}
