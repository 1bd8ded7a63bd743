import { readFile } from 'node:fs/promises';

import { MOST_BOARD_CONFIG_BYTES } from '@fleetgate/shared/catalogue/board-config';
import type { ReleaseManifest } from '@fleetgate/shared/catalogue/release';
import { FleetError } from '@fleetgate/shared/errors';

import type { ArtefactStore } from '../artefacts/artefact-store.js';

/** The text of a release by way of `artefacts`, which does not keep it. Throws `board-config.invalid`, `artefact.*`. */
export async function releaseText(
  artefacts: ArtefactStore,
  { name, sha256, sizeBytes }: ReleaseManifest,
  signal: AbortSignal,
): Promise<string> {
  if (sizeBytes > MOST_BOARD_CONFIG_BYTES) {
    const found = `board config ${name}: ${sizeBytes} bytes, expected at most ${MOST_BOARD_CONFIG_BYTES}`;
    throw new FleetError('board-config.invalid', found);
  }
  await artefacts.fetch({ sha256, sizeBytes }, signal, () => {});
  const text = await readFile(artefacts.path(sha256), 'utf8');
  await artefacts.evict(sha256);
  return text;
}
