import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';

import { checkRelease } from '@fleetgate/shared/catalogue/release';
import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';

import { DiskArtefactStore } from './artefacts/disk-artefact-store.js';
import type { ArtefactSource } from './artefacts/http-artefact-source.js';
import { programFolder } from './launcher/disk-programs.js';
import type { LauncherLink } from './launcher/process-launcher-link.js';
import { AgentUpdate } from './releases/agent-update.js';
import type { AcceptedReleases } from './releases/disk-accepted-releases.js';
import { unpackProgram } from './releases/process-unpack.js';

export interface AgentUpdateSurroundings {
  readonly launcher: LauncherLink;
  readonly releaseKeys: readonly KeyObject[];
  readonly accepted: AcceptedReleases;
  readonly source: ArtefactSource;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Exchange of this program for released ones, which its launcher does. */
export function openAgentUpdate(dataDir: string, around: AgentUpdateSurroundings): AgentUpdate {
  const { launcher, releaseKeys, accepted, source, clock, log } = around;
  const folder = programFolder(dataDir);
  return new AgentUpdate({
    launcher,
    check: (release) => checkRelease(release, releaseKeys, accepted.greatest(release.manifest)),
    accept: (manifest) => accepted.accept(manifest),
    unpack: async (manifest, signal) => {
      // A store of its own: the fleet's models come and go by the plan, and parts of others with them.
      const archives = await DiskArtefactStore.open({ folder: join(folder, 'archives'), source, log });
      await archives.fetch(manifest, signal, () => {});
      await unpackProgram(archives.path(manifest.sha256), folder, manifest.sha256);
      await archives.evict(manifest.sha256);
    },
    clock,
    log,
  });
}
