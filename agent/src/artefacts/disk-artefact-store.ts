import { mkdir, open, readdir, rename, rm, stat, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';

import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { type Bytes, bytes } from '@fleetgate/shared/units/quantity';

import type { Artefact, ArtefactStore, StoredArtefact } from './artefact-store.js';
import { appendTo, digestOf } from './disk-digest.js';
import type { ArtefactSource } from './http-artefact-source.js';

/** Left to logs, databases and the system, however many artefacts are asked for. */
const HEADROOM_BYTES = 64 * 1024 * 1024;

export interface DiskArtefactStoreOptions {
  readonly folder: string;
  readonly source: ArtefactSource;
  readonly log: Logger;
  readonly headroomBytes?: number;
  /** Test seam for a disk that fills up; writes all of `chunk` or throws. */
  readonly write?: typeof appendTo;
}

/**
 * Artefacts in one folder: `<sha256>.gguf` when complete and verified, `<sha256>.part` while they come.
 *
 * A complete file appears by one rename after its bytes reached the disk, so that a crash never leaves half a model
 * under a good name.
 */
export class DiskArtefactStore implements ArtefactStore {
  readonly #options: DiskArtefactStoreOptions;
  readonly #stored = new Map<string, StoredArtefact>();

  private constructor(options: DiskArtefactStoreOptions) {
    this.#options = options;
  }

  /** Opens the folder, creating it if needed. Throws `data-dir.not-writable`. */
  static async open(options: DiskArtefactStoreOptions): Promise<DiskArtefactStore> {
    const store = new DiskArtefactStore(options);
    try {
      await mkdir(options.folder, { recursive: true, mode: 0o700 });
      for (const name of await readdir(options.folder)) {
        const sha256 = /^([0-9a-f]{64})\.gguf$/.exec(name)?.[1];
        if (sha256 === undefined) continue;
        const { size } = await stat(join(options.folder, name));
        store.#stored.set(sha256, { sha256, sizeBytes: size, state: 'unverified' });
      }
    } catch (cause) {
      throw new FleetError('data-dir.not-writable', `${options.folder}: ${messageOf(cause)}`, { cause });
    }
    return store;
  }

  stored(): readonly StoredArtefact[] {
    return [...this.#stored.values()].sort((a, b) => b.sizeBytes - a.sizeBytes || (a.sha256 < b.sha256 ? -1 : 1));
  }

  path(sha256: string): string {
    return join(this.#options.folder, `${sha256}.gguf`);
  }

  async free(): Promise<Bytes> {
    const { bavail, bsize } = await statfs(this.#options.folder);
    return bytes(Math.max(0, bavail * bsize - (this.#options.headroomBytes ?? HEADROOM_BYTES)));
  }

  async fetch(artefact: Artefact, signal: AbortSignal, onProgress: (share: number) => void): Promise<void> {
    if (this.#stored.get(artefact.sha256)?.state === 'verified') return;
    try {
      await this.#download(artefact, signal, onProgress);
    } catch (error) {
      if (!isFleetError(error, 'artefact.corrupt')) throw error;
      this.#options.log.warn('artefact.refetched', { sha256: artefact.sha256, reason: error.message });
      await rm(this.#part(artefact.sha256), { force: true });
      await this.#download(artefact, signal, onProgress);
    }
  }

  async verify(sha256: string, signal: AbortSignal): Promise<void> {
    const entry = this.#stored.get(sha256);
    if (entry === undefined) throw new FleetError('artefact.unavailable', `artefact ${sha256} is not stored`);
    const found = await digestOf(this.path(sha256), signal);
    if (found === sha256) {
      this.#stored.set(sha256, { ...entry, state: 'verified' });
      return;
    }
    await this.evict(sha256);
    throw corrupt(sha256, `its bytes have sha256 ${found}`);
  }

  async evict(sha256: string): Promise<void> {
    this.#stored.delete(sha256);
    await rm(this.path(sha256), { force: true });
    await rm(this.#part(sha256), { force: true });
    // What an engine has made of it: skeletons that it loads in its place.
    const madeOf = `${sha256}.gguf.`;
    for (const name of await readdir(this.#options.folder)) {
      if (name.startsWith(madeOf)) await rm(join(this.#options.folder, name), { force: true });
    }
  }

  async dropPartsExcept(wanted: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#options.folder)) {
      const sha256 = /^([0-9a-f]{64})\.part$/.exec(name)?.[1];
      if (sha256 !== undefined && !wanted.has(sha256)) await rm(join(this.#options.folder, name), { force: true });
    }
  }

  async #download(artefact: Artefact, signal: AbortSignal, onProgress: (share: number) => void): Promise<void> {
    const { sha256, sizeBytes } = artefact;
    const part = this.#part(sha256);
    let have = await this.#partialBytes(sha256);
    if (have > sizeBytes) {
      await rm(part, { force: true });
      have = 0;
    }
    await this.#checkRoom(artefact, have);
    if (have < sizeBytes) {
      await this.#options.source(artefact, have, signal, async (start, chunks) => {
        // A source without ranges starts over from byte 0.
        if (start !== have) await truncate(part, start);
        await this.#write(artefact, start, chunks, onProgress);
      });
    }
    const size = await this.#partialBytes(sha256);
    if (size < sizeBytes) {
      throw new FleetError('artefact.unavailable', `artefact ${sha256}: got ${size} of ${sizeBytes} bytes`, {
        retryable: true,
      });
    }
    const found = await digestOf(part, signal);
    if (found !== sha256) {
      await rm(part, { force: true });
      throw corrupt(sha256, `what came has sha256 ${found}`);
    }
    await rename(part, this.path(sha256));
    await syncFolder(this.#options.folder);
    this.#stored.set(sha256, { sha256, sizeBytes, state: 'verified' });
  }

  async #write(
    artefact: Artefact,
    start: number,
    chunks: AsyncIterable<Uint8Array>,
    onProgress: (share: number) => void,
  ): Promise<void> {
    const write = this.#options.write ?? appendTo;
    const file = await open(this.#part(artefact.sha256), 'a', 0o600);
    let size = start;
    try {
      for await (const chunk of chunks) {
        if (size + chunk.length > artefact.sizeBytes) {
          throw corrupt(artefact.sha256, `the source sends more than its ${artefact.sizeBytes} bytes`);
        }
        await write(file, chunk);
        size += chunk.length;
        onProgress(size / artefact.sizeBytes);
      }
      await file.sync();
    } catch (error) {
      if (isNoSpace(error)) throw diskFull(artefact, artefact.sizeBytes - size, this.#options.folder, error);
      throw error;
    } finally {
      await file.close();
      if (size > artefact.sizeBytes) await rm(this.#part(artefact.sha256), { force: true });
    }
  }

  async #checkRoom(artefact: Artefact, have: number): Promise<void> {
    const missing = artefact.sizeBytes - have - (await this.free());
    if (missing > 0) throw diskFull(artefact, missing, this.#options.folder);
  }

  async #partialBytes(sha256: string): Promise<number> {
    try {
      return (await stat(this.#part(sha256))).size;
    } catch {
      return 0;
    }
  }

  #part(sha256: string): string {
    return join(this.#options.folder, `${sha256}.part`);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

function diskFull(artefact: Artefact, missing: number, folder: string, cause?: unknown): FleetError {
  return new FleetError(
    'artefact.disk-full',
    `artefact ${artefact.sha256} (${artefact.sizeBytes} bytes) does not fit in ${folder}: ${missing} bytes are missing`,
    { hint: 'free disk space, or give the agent another --data directory', retryable: true, cause },
  );
}

function corrupt(sha256: string, what: string): FleetError {
  return new FleetError('artefact.corrupt', `artefact ${sha256}: ${what}`, {
    hint: 'the copy at the controller may be damaged: add the expert again',
    retryable: true,
  });
}
