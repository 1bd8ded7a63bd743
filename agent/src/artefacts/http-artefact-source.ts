import type { IncomingMessage } from 'node:http';

import { FleetError, isFleetError } from '@fleetgate/shared/errors';
import { openHttp, reasonOf } from '@fleetgate/shared/http-request';

import type { Artefact } from './artefact-store.js';

/** A download that stands still this long is given up; it continues from there at the next try. */
const STALL_MS = 30_000;

/**
 * Opens an artefact's bytes from `offset` and hands them to `take`, which also hears at which byte they start: `offset`,
 * or 0 from a source that cannot start in the middle. Throws `artefact.unavailable`; errors of `take` pass through.
 */
export type ArtefactSource = (
  artefact: Artefact,
  offset: number,
  signal: AbortSignal,
  take: (start: number, chunks: AsyncIterable<Uint8Array>) => Promise<void>,
) => Promise<void>;

/** The controller's artefact store: `GET /api/v1/artefacts/<sha256>` with this device's credential. */
export function httpArtefactSource(controllerUrl: string, bearer: string): ArtefactSource {
  return async (artefact, offset, signal, take) => {
    const stall = new AbortController();
    const both = AbortSignal.any([signal, stall.signal]);
    let timer = setTimeout(() => stall.abort(), STALL_MS);
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => stall.abort(), STALL_MS);
    };
    try {
      const response = await open(new URL(`/api/v1/artefacts/${artefact.sha256}`, controllerUrl), bearer, offset, both);
      try {
        const start = startOf(response, offset, artefact);
        await take(start, chunksOf(response, artefact, alive));
      } finally {
        // Gives the connection back where the body was not read to its end.
        response.destroy();
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw stall.signal.aborted ? unavailable(artefact, `nothing came for ${STALL_MS} ms`, 'again') : error;
    } finally {
      clearTimeout(timer);
    }
  };
}

async function open(url: URL, bearer: string, offset: number, signal: AbortSignal): Promise<IncomingMessage> {
  const headers: Record<string, string> = { authorization: `Bearer ${bearer}`, 'accept-encoding': 'identity' };
  if (offset > 0) headers['range'] = `bytes=${offset}-`;
  try {
    return await openHttp(url, signal, { headers });
  } catch (cause) {
    throw new FleetError('artefact.unavailable', `${url.href}: ${reasonOf(cause)}`, { retryable: true, cause });
  }
}

function startOf(response: IncomingMessage, offset: number, artefact: Artefact): number {
  const status = response.statusCode ?? 0;
  if (status === 200) return 0;
  if (status === 206) {
    const range = response.headers['content-range'];
    if (Number(/^bytes (\d+)-/.exec(range ?? '')?.[1]) === offset) return offset;
    throw unavailable(artefact, `asked for bytes from ${offset}, got ${range}`, 'again');
  }
  // 416: what is there is longer than the source's file, so it is of no use.
  if (status === 416) throw new FleetError('artefact.corrupt', `${artefact.sha256}: the source has fewer bytes`);
  const again = status === 429 || status >= 500;
  throw unavailable(artefact, `the controller answered ${status}`, again ? 'again' : 'never');
}

async function* chunksOf(response: IncomingMessage, artefact: Artefact, alive: () => void): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      alive();
      yield chunk;
    }
  } catch (cause) {
    if (isFleetError(cause)) throw cause;
    throw unavailable(artefact, reasonOf(cause), 'again', cause);
  }
}

function unavailable(artefact: Artefact, what: string, when: 'again' | 'never', cause?: unknown): FleetError {
  return new FleetError('artefact.unavailable', `artefact ${artefact.sha256}: ${what}`, {
    retryable: when === 'again',
    cause,
  });
}
