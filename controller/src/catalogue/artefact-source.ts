import type { SourceReference } from './source-reference.js';

/** A file to be fetched, with what its host says of it. */
export interface RemoteArtefact {
  readonly url: string;
  readonly fileName: string;
  readonly sizeBytes: number | undefined;
  readonly sha256: string | undefined;
  /** SPDX-like id, as the model's page says. */
  readonly licence: string | undefined;
  /** A page for people. */
  readonly page: string;
}

/** Bytes so far and, when known, of all. */
export type OnProgress = (done: number, total: number | undefined) => void;

/** Fetches model files from elsewhere. */
export interface ArtefactSource {
  /** Throws `artefact.unavailable` (not there, gated, host unreachable) or `gguf.unsupported`. */
  resolve(reference: Exclude<SourceReference, { readonly kind: 'file' }>, signal: AbortSignal): Promise<RemoteArtefact>;
  /**
   * Fetches into `path`, going on where an earlier try of the same file ended. Checks size and digest where they are
   * known. Throws `artefact.unavailable`, `artefact.corrupt` or `artefact.disk-full`.
   */
  fetch(remote: RemoteArtefact, path: string, onProgress: OnProgress, signal: AbortSignal): Promise<void>;
}
