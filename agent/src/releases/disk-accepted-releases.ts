import { join } from 'node:path';

import { z } from 'zod';

import type { ReleaseManifest } from '@fleetgate/shared/catalogue/release';
import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';

const schema = z.record(z.string(), z.number().int().positive());

/** The greatest number of each kind and name that this device has taken, kept over restarts. */
export interface AcceptedReleases {
  greatest(manifest: Pick<ReleaseManifest, 'kind' | 'name'>): number | undefined;
  /** Kept durably when it returns. */
  accept(manifest: Pick<ReleaseManifest, 'kind' | 'name' | 'sequence'>): void;
}

/** Throws `store.corrupt`: a device that forgot what it took would take it again from whoever kept it. */
export function diskAcceptedReleases(dataDir: string): AcceptedReleases {
  const path = join(dataDir, 'accepted-releases.json');
  const numbers = new Map(Object.entries(readJsonFile<Record<string, number>>(path, schema) ?? {}));
  // Neither can hold a space.
  const keyOf = ({ kind, name }: Pick<ReleaseManifest, 'kind' | 'name'>): string => `${kind} ${name}`;
  return {
    greatest: (manifest) => numbers.get(keyOf(manifest)),
    accept: (manifest) => {
      const key = keyOf(manifest);
      if (manifest.sequence <= (numbers.get(key) ?? 0)) return;
      numbers.set(key, manifest.sequence);
      writeJsonFile(path, Object.fromEntries(numbers));
    },
  };
}
