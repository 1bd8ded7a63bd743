import type { Bytes } from '@fleetgate/shared/units/quantity';

/** Content to be had: its digest is its name. */
export interface Artefact {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** `unverified`: found on disk at start, its digest not checked by this process yet. */
export interface StoredArtefact extends Artefact {
  readonly state: 'verified' | 'unverified';
}

/** Files of variants on this device, by digest. */
export interface ArtefactStore {
  /** What is complete on disk, largest first. Does not block: kept in memory. */
  stored(): readonly StoredArtefact[];
  /** Path of a stored artefact's file. */
  path(sha256: string): string;
  /** Room left for artefacts, the headroom for everything else taken off. */
  free(): Promise<Bytes>;
  /**
   * Brings an artefact onto disk, verified; at once when it is there. Continues an interrupted download.
   *
   * `onProgress` hears the share that is there, 0..1. Throws `artefact.disk-full` (says how much is missing),
   * `artefact.unavailable` (retryable unless the source refuses for good), `artefact.corrupt` after a second try.
   * Aborting keeps what came so far.
   */
  fetch(artefact: Artefact, signal: AbortSignal, onProgress: (share: number) => void): Promise<void>;
  /** Checks a stored artefact's digest. A wrong one is deleted and `artefact.corrupt` thrown. */
  verify(sha256: string, signal: AbortSignal): Promise<void>;
  /** Removes an artefact and any part of it. Idempotent. */
  evict(sha256: string): Promise<void>;
  /** Removes parts of downloads of any other artefact than these. */
  dropPartsExcept(wanted: ReadonlySet<string>): Promise<void>;
}
