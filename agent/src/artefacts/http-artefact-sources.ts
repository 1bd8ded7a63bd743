import { messageOf } from '@fleetgate/shared/errors';
import { openHttp, readText } from '@fleetgate/shared/http-request';
import type { Logger } from '@fleetgate/shared/logger';
import { type ArtefactSources, artefactSourcesSchema } from '@fleetgate/shared/protocol/artefact-sources';

import type { Artefact } from './artefact-store.js';

/** A controller may have to read a file of many GB before its first answer. */
const DEADLINE_MS = 120_000;

/** Where artefacts are to be had besides the controller, by its own word; undefined where it does not say. */
export function httpArtefactSources(
  controllerUrl: string,
  bearer: string,
  log: Logger,
): (artefact: Artefact, signal: AbortSignal) => Promise<ArtefactSources | undefined> {
  return async ({ sha256 }, signal) => {
    const url = new URL(`/api/v1/artefacts/${sha256}/sources`, controllerUrl);
    try {
      const both = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
      const response = await openHttp(url, both, { headers: { authorization: `Bearer ${bearer}` } });
      const text = await readText(response);
      // A controller of an earlier release knows no sources.
      return response.statusCode === 200 ? artefactSourcesSchema.parse(JSON.parse(text)) : undefined;
    } catch (error) {
      signal.throwIfAborted();
      log.warn('artefact.sources-unknown', { sha256, reason: messageOf(error) });
      return undefined;
    }
  };
}
