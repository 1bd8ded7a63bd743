import type { Clock } from '@fleetgate/shared/clock';
import type { Logger } from '@fleetgate/shared/logger';
import { type Random, SECRET_CHARACTERS } from '@fleetgate/shared/random';

import type { ArtefactStore } from './artefacts/artefact-store.js';
import { httpArtefactSource } from './artefacts/http-artefact-source.js';
import { httpArtefactSources } from './artefacts/http-artefact-sources.js';
import { fetchRange } from './artefacts/http-peer-range.js';
import { type PeerTls, type SeedServer, startSeedServer } from './artefacts/http-seed-server.js';
import { ownAddresses } from './artefacts/linux-addresses.js';
import { limitedPace, type Pace, UNLIMITED } from './artefacts/pace.js';
import { nearestFirst } from './artefacts/peer-order.js';
import { type Fetched, peerSource } from './artefacts/peer-source.js';
import type { AgentConfig } from './config/config.js';
import type { Identity } from './link/identity.js';

export interface TransfersSurroundings {
  /** By which devices of the fleet know each other; undefined: this one has none. */
  readonly tls: () => PeerTls | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Artefacts from peers and the controller, at the configured pace. */
export function openSource(
  { controllerUrl, transferBytesPerS }: AgentConfig,
  { deviceId, secret }: Identity,
  fetched: Fetched,
  { tls, clock, log }: TransfersSurroundings,
): ReturnType<typeof peerSource> {
  const bearer = `${deviceId}:${secret}`;
  return peerSource({
    sources: httpArtefactSources(controllerUrl, bearer, log),
    order: (peers) => nearestFirst(peers, ownAddresses(), deviceId),
    fetchRange: (peer, sha256, range, signal) =>
      fetchRange(peer, sha256, range, { tls: tls(), nowMs: clock.now(), signal }),
    controller: httpArtefactSource(controllerUrl, bearer),
    pace: paceOf(transferBytesPerS, clock),
    fetched,
    log,
  });
}

/** Serves this device's artefacts to others, where it is configured to. Throws `config.invalid`, `port.taken`. */
export async function openSeed(
  { seed, transferBytesPerS }: AgentConfig,
  artefacts: ArtefactStore,
  random: Random,
  { tls, clock, log }: TransfersSurroundings,
): Promise<SeedServer | undefined> {
  if (seed === undefined) return undefined;
  const server = await startSeedServer({
    ...seed,
    tls,
    token: random.token(SECRET_CHARACTERS),
    find: (sha256) => {
      const stored = artefacts.stored().find((one) => one.sha256 === sha256 && one.state === 'verified');
      return stored === undefined ? undefined : { path: artefacts.path(sha256), sizeBytes: stored.sizeBytes };
    },
    pace: paceOf(transferBytesPerS, clock),
    clock,
    log,
  });
  log.info('seed.open', { url: server.seed.url });
  return server;
}

const paceOf = (bytesPerS: number | undefined, clock: Clock): Pace =>
  bytesPerS === undefined ? UNLIMITED : limitedPace(bytesPerS, clock);
