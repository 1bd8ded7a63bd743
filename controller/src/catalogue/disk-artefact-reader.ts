import { stat } from 'node:fs/promises';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';

import type { ExpertStore, ReadArtefact } from './expert-store.js';

/**
 * Digest and model facts of a GGUF file; from the store when the file has neither grown nor changed since.
 *
 * Throws `artefact.unavailable`, `gguf.malformed` or `gguf.unsupported`.
 */
export async function readArtefact(path: string, store: ExpertStore): Promise<ReadArtefact> {
  const { sizeBytes, changedMs } = await lookAt(path);
  const known = await store.artefact(path);
  if (known !== undefined && known.sizeBytes === sizeBytes && known.changedMs === changedMs) return known;
  // The header first: it is cheap, and what is no model need not be digested.
  const facts = await readModelFacts(path);
  const read = { path, sizeBytes, changedMs, sha256: await sha256OfFile(path), facts };
  await store.rememberArtefact(read);
  return read;
}

async function lookAt(path: string): Promise<{ readonly sizeBytes: number; readonly changedMs: number }> {
  try {
    const found = await stat(path);
    return { sizeBytes: found.size, changedMs: found.mtimeMs };
  } catch (cause) {
    throw new FleetError('artefact.unavailable', `cannot open model file ${path}: ${messageOf(cause)}`, { cause });
  }
}
