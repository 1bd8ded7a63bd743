import { createHash } from 'node:crypto';
import { copyFile, link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { UnixMs } from '@fleetgate/shared/units/quantity';

/** A download that nobody went on with for this long is removed at the next start. */
const ABANDONED_MS = 7 * 86_400_000;

/** Model files of added experts: `<folder>/<sha256>.gguf`, and downloads under way as `.part`. */
export class ArtefactFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder and removes downloads that were abandoned. */
  async open(now: UnixMs): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    for (const name of await readdir(this.#folder)) {
      if (!/\.part(?:\.etag)?$/.test(name)) continue;
      const path = join(this.#folder, name);
      if (now - (await stat(path)).mtimeMs > ABANDONED_MS) await rm(path, { force: true });
    }
  }

  /** Where the file of an address is fetched to: the same at every try, so that a later one goes on. */
  partOf(url: string): string {
    return join(this.#folder, `${createHash('sha256').update(url).digest('hex').slice(0, 32)}.part`);
  }

  pathOf(sha256: string): string {
    return join(this.#folder, `${sha256}.gguf`);
  }

  /** Takes over a fetched file. */
  async keepPart(part: string, sha256: string): Promise<string> {
    const path = this.pathOf(sha256);
    await rename(part, path);
    return path;
  }

  /** Takes in a file that stays where it is: linked where both are on one disk, else copied. */
  async keepFile(file: string, sha256: string): Promise<string> {
    const path = this.pathOf(sha256);
    await rm(path, { force: true });
    try {
      await link(file, path);
    } catch {
      // Another disk, or a file system without links.
      await copyFile(file, `${path}.part`);
      await rename(`${path}.part`, path);
    }
    return path;
  }
}
