import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { AuthorityKey } from './certificate.js';

const schema: z.ZodType<AuthorityKey & { readonly schema: string }> = z.object({
  schema: z.literal('fleetgate-authority/1'),
  keyPem: z.string().min(1),
  certificatePem: z.string().min(1),
});

/**
 * The authority kept in `dataDir`, key and certificate in one file for its owner alone, so that a crash never leaves one
 * without the other; made by `make` when there is none.
 *
 * Throws `store.corrupt` or `data-dir.not-writable`.
 */
export async function keptAuthority(dataDir: string, make: () => Promise<AuthorityKey>): Promise<AuthorityKey> {
  const folder = join(dataDir, 'authority');
  const path = join(folder, 'authority.json');
  const kept = readJsonFile(path, schema);
  if (kept !== undefined) return kept;
  const made = await make();
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeJsonFile(path, { schema: 'fleetgate-authority/1', ...made }, 0o600);
  } catch (cause) {
    throw new FleetError('data-dir.not-writable', `${path} cannot be written: ${messageOf(cause)}`, {
      hint: 'choose a directory you may write to with --data',
      cause,
    });
  }
  return made;
}
