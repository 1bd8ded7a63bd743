import { type BigIntStats, closeSync, constants, fstatSync, openSync } from 'node:fs';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { O_DIRECT } from '../native/linux-libc.js';

/**
 * The model file that slabs are read from, held open: one that is replaced by another file goes on being read as it was;
 * one that is changed in place is noticed.
 */
export class ModelSource {
  readonly path: string;
  readonly fd: number;
  /** For reading past the kernel's cache; undefined where the file system has no such thing. */
  readonly directFd: number | undefined;
  readonly #size: bigint;
  readonly #changedNs: bigint;

  private constructor(path: string, fd: number, directFd: number | undefined, { size, mtimeNs }: BigIntStats) {
    this.path = path;
    this.fd = fd;
    this.directFd = directFd;
    this.#size = size;
    this.#changedNs = mtimeNs;
  }

  /** Throws `artefact.unavailable`. */
  static open(path: string): ModelSource {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY);
    } catch (cause) {
      throw new FleetError('artefact.unavailable', `cannot open model file ${path}: ${messageOf(cause)}`, { cause });
    }
    return new ModelSource(path, fd, openedDirectly(fd), fstatSync(fd, { bigint: true }));
  }

  /** Throws `artefact.unavailable` when the file was written to or cut since it was opened. A few microseconds. */
  check(): void {
    const { size, mtimeNs } = this.#stat();
    if (size === this.#size && mtimeNs === this.#changedNs) return;
    throw new FleetError(
      'artefact.unavailable',
      `${this.path}: the file was changed while it was in use (${this.#size} bytes before, ${size} now)`,
      { hint: 'load the model anew; files are to be replaced by renaming, not written over', retryable: true },
    );
  }

  close(): void {
    closeSync(this.fd);
    if (this.directFd !== undefined) closeSync(this.directFd);
  }

  #stat(): BigIntStats {
    try {
      return fstatSync(this.fd, { bigint: true });
    } catch (cause) {
      throw new FleetError('artefact.unavailable', `${this.path}: ${messageOf(cause)}`, { cause, retryable: true });
    }
  }
}

/** By the descriptor: the path may name another file by now. */
function openedDirectly(fd: number): number | undefined {
  if (O_DIRECT === undefined) return undefined;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | O_DIRECT);
  } catch {
    return undefined;
  }
}
