import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { bytesBetween, type PageRange } from './slab-pages.js';

export interface Skeleton {
  readonly path: string;
  /** Bytes that are really on the disk. */
  readonly storedBytes: number;
  /** Whether it was there already. */
  readonly isReused: boolean;
}

const COPY_BYTES = 4 * 1024 * 1024;
/** Of the holes, the share that a file system may allocate anyway before it counts as one without sparse files. */
const ALLOCATED_SHARE = 0.1;
const SUFFIX = '.skeleton';
/** After the model's name and a point. */
const SKELETON = /^[0-9a-f]{16}\.skeleton$/;

/**
 * A file of the same length as the model, with holes where the slabs are: llama.cpp reads a file whole when it loads it, and
 * so reads only what is not a slab.
 *
 * Kept in `folder`, named after the identity of the model file; older ones of the same name are removed. Undefined where
 * the file system has no sparse files. Throws `artefact.unavailable`, `artefact.disk-full`.
 */
export async function prepareSkeleton(
  modelPath: string,
  folder: string,
  holes: readonly PageRange[],
): Promise<Skeleton | undefined> {
  try {
    await mkdir(folder, { recursive: true });
    const { dev, ino, size, mtimeNs } = await stat(modelPath, { bigint: true });
    const identity = [dev, ino, size, mtimeNs, JSON.stringify(holes)].join('|');
    const key = createHash('sha256').update(identity).digest('hex').slice(0, 16);
    const name = basename(modelPath);
    const path = join(folder, `${name}.${key}${SUFFIX}`);
    const old = await stat(path).catch(() => undefined);
    if (old !== undefined && BigInt(old.size) === size) {
      return { path, storedBytes: old.blocks * 512, isReused: true };
    }
    await removeOthers(folder, name);
    return await written(modelPath, path, holes, Number(size));
  } catch (cause) {
    if (cause instanceof FleetError) throw cause;
    const isFull = (cause as NodeJS.ErrnoException).code === 'ENOSPC';
    throw new FleetError(
      isFull ? 'artefact.disk-full' : 'artefact.unavailable',
      `no skeleton of ${modelPath} can be made in ${folder}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** Paths of a model's skeletons in a folder. */
export async function skeletonsIn(folder: string, modelPath: string): Promise<readonly string[]> {
  const names = await readdir(folder);
  const ofModel = `${basename(modelPath)}.`;
  const isOne = (name: string): boolean => name.startsWith(ofModel) && SKELETON.test(name.slice(ofModel.length));
  return names.filter(isOne).map((name) => join(folder, name));
}

async function written(
  modelPath: string,
  path: string,
  holes: readonly PageRange[],
  size: number,
): Promise<Skeleton | undefined> {
  const part = `${path}.${process.pid}.part`;
  const from = await open(modelPath, 'r');
  try {
    const to = await open(part, 'w');
    try {
      await to.truncate(size);
      for (const range of bytesBetween(holes, size)) await copyRange(from, to, range);
      await to.sync();
      const { blocks } = await to.stat();
      const storedBytes = blocks * 512;
      const holeBytes = holes.reduce((sum, { bytes }) => sum + bytes, 0);
      if (storedBytes > size - holeBytes * (1 - ALLOCATED_SHARE) + COPY_BYTES) return undefined;
      await rename(part, path);
      return { path, storedBytes, isReused: false };
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
    await rm(part, { force: true });
  }
}

async function copyRange(from: FileHandle, to: FileHandle, { offset, bytes }: PageRange): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, bytes));
  for (let done = 0; done < bytes;) {
    const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, bytes - done), offset + done);
    if (bytesRead === 0) throw new Error('the model file was cut off while it was read');
    await to.write(buffer, 0, bytesRead, offset + done);
    done += bytesRead;
  }
}

/** Skeletons of other states of the file, and what a process that is gone left behind. */
async function removeOthers(folder: string, name: string): Promise<void> {
  for (const other of await readdir(folder)) {
    if (!other.startsWith(`${name}.`)) continue;
    const rest = other.slice(name.length + 1);
    const part = /^[0-9a-f]{16}\.skeleton\.(\d+)\.part$/.exec(rest);
    const isOld = SKELETON.test(rest) || (part !== null && !(await isAlive(Number(part[1]))));
    if (isOld) await rm(join(folder, other), { force: true });
  }
}

async function isAlive(pid: number): Promise<boolean> {
  return (await stat(`/proc/${pid}`).catch(() => undefined)) !== undefined;
}
