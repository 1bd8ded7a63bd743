import { createHash } from 'node:crypto';

import type { Peer } from '@fleetgate/shared/protocol/artefact-sources';

/**
 * Peers by nearness: those whose IPv4 address shares the most leading bits with one of ours first. Among equals each device
 * has an order of its own, so that not all of them ask the same one. The order of `peers` does not matter.
 */
export function nearestFirst(peers: readonly Peer[], own: readonly string[], deviceId: string): readonly Peer[] {
  const nearness = (peer: Peer): number => Math.max(0, ...own.map((address) => sharedBits(hostOf(peer), address)));
  const lot = (peer: Peer): string => createHash('sha256').update(`${deviceId} ${peer.deviceId}`).digest('hex');
  return [...peers].sort((one, other) => nearness(other) - nearness(one) || (lot(one) < lot(other) ? -1 : 1));
}

const hostOf = ({ url }: Peer): string => new URL(url).hostname;

const IPV4 = /^\d+(?:\.\d+){3}$/;

/** Leading bits that two IPv4 addresses share, 0..32; 0 for anything else. */
export function sharedBits(one: string, other: string): number {
  if (!IPV4.test(one) || !IPV4.test(other)) return 0;
  return Math.clz32((numberOf(one) ^ numberOf(other)) >>> 0);
}

const numberOf = (address: string): number =>
  address.split('.').reduce((number, part) => ((number << 8) | Number(part)) >>> 0, 0);
