import type { KeyObject } from 'node:crypto';

import type { Board } from '@fleetgate/firmware-configs/apply-config';
import { NO_SETTINGS } from '@fleetgate/firmware-configs/board-state';
import { DiskBoard } from '@fleetgate/firmware-configs/disk-board';
import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import { checkRelease } from '@fleetgate/shared/catalogue/release';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';

import type { ArtefactStore } from './artefacts/artefact-store.js';
import { BoardSettings } from './board/board-settings.js';
import { readKeptConfig, writeKeptConfig } from './board/disk-kept-config.js';
import { readOwnSettings, writeOwnSettings } from './board/disk-own-settings.js';
import { releaseText } from './board/disk-release-text.js';
import { powerModeRequestFolder } from './config/config.js';
import type { AcceptedReleases } from './releases/disk-accepted-releases.js';

export interface BoardSettingsSurroundings {
  readonly profile: BoardProfile;
  /** What this machine was recognised as; another board is only played. */
  readonly recognised: BoardProfile | undefined;
  /** In place of this machine's own. */
  readonly board: Board | undefined;
  /** Whose releases are taken. */
  readonly releaseKeys: readonly KeyObject[];
  readonly accepted: AcceptedReleases;
  readonly artefacts: ArtefactStore;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Settings of this machine's board, released by whoever holds one of the keys. Throws `store.corrupt`. */
export function openBoardSettings(dataDir: string, around: BoardSettingsSurroundings): BoardSettings {
  const { profile, accepted, artefacts, clock, log } = around;
  return new BoardSettings({
    boardId: profile.id,
    board: around.board ?? (around.recognised?.id === profile.id ? ownBoard() : PLAYED),
    check: (release, number) =>
      checkRelease(release, around.releaseKeys, number === 'any' ? undefined : accepted.greatest(release.manifest)),
    accept: (manifest) => accepted.accept(manifest),
    fetch: (manifest, signal) => releaseText(artefacts, manifest, signal),
    kept: readKeptConfig(dataDir),
    keep: (kept) => writeKeptConfig(dataDir, kept),
    own: () => readOwnSettings(dataDir),
    remember: (own) => writeOwnSettings(dataDir, own),
    clock,
    log,
  });
}

const ownBoard = (): Board => new DiskBoard({ root: '/', requestFolder: powerModeRequestFolder() });

/** A machine that plays another board has none of that board's settings, and keeps its own. */
const PLAYED: Board = {
  read: () => Promise.resolve(NO_SETTINGS),
  change: () => Promise.reject(new FleetError('board.unsupported', 'this machine only plays its board')),
};
