import { copyFile, mkdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { FleetError, messageOf } from '@fleetgate/shared/errors';

import type { ReleaseShelf } from './release-book.js';

/** Copies of released files in a folder, named by their digests. */
export class DiskReleaseShelf implements ReleaseShelf {
  readonly #folder: string;
  readonly #offer: ReleaseShelf['offer'];

  constructor(folder: string, offer: ReleaseShelf['offer']) {
    this.#folder = folder;
    this.#offer = offer;
  }

  async measure(file: string): Promise<{ readonly sha256: string; readonly sizeBytes: number }> {
    try {
      return { sha256: await sha256OfFile(file), sizeBytes: (await stat(file)).size };
    } catch (cause) {
      throw new FleetError('artefact.unavailable', `${file}: ${messageOf(cause)}`, {
        hint: 'the file has to be on the machine of the controller',
        cause,
      });
    }
  }

  async keep(file: string, sha256: string): Promise<string> {
    const path = join(this.#folder, sha256);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await copyFile(file, `${path}.part`);
    // What was copied may have changed since it was measured.
    if ((await sha256OfFile(`${path}.part`)) !== sha256) {
      throw new FleetError('artefact.corrupt', `${file} has changed while it was copied`, { retryable: true });
    }
    await rename(`${path}.part`, path);
    return path;
  }

  offer(sha256: string, path: string): void {
    this.#offer(sha256, path);
  }
}
