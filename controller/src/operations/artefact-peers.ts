import { filesOf } from '@fleetgate/shared/catalogue/serving';
import type { Peer } from '@fleetgate/shared/protocol/artefact-sources';

import { type Device, type FleetSnapshot, presentReport } from '../fleet/device.js';

/** A fetching device asks a few of them; more would only make its answer longer. */
const MOST_PEERS = 16;

/**
 * Devices that are online, have the artefact by their own word, and serve it to others: at most 16, the ones that run the
 * fewest jobs first, then by name.
 */
export function peersWith(sha256: string, fleet: FleetSnapshot): readonly Peer[] {
  return [...fleet.values()]
    .filter((device) => has(device, sha256))
    .sort((one, other) => jobsOf(one) - jobsOf(other) || (one.id < other.id ? -1 : 1))
    .flatMap((device) => {
      const seed = presentReport(device)?.seed;
      return seed === undefined ? [] : [{ deviceId: device.id, ...seed }];
    })
    .slice(0, MOST_PEERS);
}

const HELD: ReadonlySet<string> = new Set(['stored', 'loading', 'resident']);

function has(device: Device, sha256: string): boolean {
  const held = new Set(
    presentReport(device)?.variants.flatMap(({ variantId, residency }) => (HELD.has(residency) ? variantId : [])),
  );
  const wanted = device.desired?.variants ?? [];
  return wanted.some(
    (variant) => held.has(variant.variantId) && filesOf(variant).some((file) => file.sha256 === sha256),
  );
}

const jobsOf = ({ last }: Device): number => last.runningJobs ?? 0;
