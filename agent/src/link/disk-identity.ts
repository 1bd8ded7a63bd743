import { join } from 'node:path';

import { z } from 'zod';

import type { Clock } from '@fleetgate/shared/clock';
import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';

import { type Identity, identitySchema } from './identity.js';

/** The identity kept in `dataDir`; undefined before enrolment. Throws `store.corrupt`. */
export function readIdentity(dataDir: string): Identity | undefined {
  return readJsonFile<Identity>(join(dataDir, 'identity.json'), identitySchema);
}

export function writeIdentity(dataDir: string, identity: Identity): void {
  writeJsonFile(join(dataDir, 'identity.json'), identity);
}

/** Numbers the sessions of a device. */
export interface Epochs {
  /** Greater than every number given before, in this process or an earlier one. */
  next(): number;
}

/**
 * Session numbers kept on disk and seeded by the clock: they grow when the file is lost (the clock went on) and when
 * the clock went back (the file remembers).
 */
export function diskEpochs(dataDir: string, clock: Clock): Epochs {
  const path = join(dataDir, 'epoch.json');
  const schema = z.object({ epoch: z.number().int().positive() });
  let last = 0;
  try {
    last = readJsonFile(path, schema)?.epoch ?? 0;
  } catch {
    // A torn file is as good as a lost one: the clock is ahead of every epoch it gave.
  }
  return {
    next: () => {
      last = Math.max(last + 1, clock.now());
      writeJsonFile(path, { epoch: last });
      return last;
    },
  };
}
