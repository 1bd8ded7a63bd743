import { MAX_MESSAGE_BYTES } from '@fleetgate/shared/protocol/version';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import type { GuardLimits } from './frame-guard.js';

export interface BrokerLimits {
  /** Connections in all, and from one address: a fleet behind one router shares an address. */
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly handshakes: HandshakeLimits;
  /** Time for a CONNECT to arrive whole. */
  readonly connectTimeout: Milliseconds;
  /** For devices, and for everybody before authentication. */
  readonly guard: GuardLimits;
  readonly controllerGuard: GuardLimits;
}

export interface HandshakeLimits {
  /** Handshakes under way in all, and from one address. */
  readonly atOnce: number;
  readonly atOncePerAddress: number;
  /** From the connection to the end of its handshake. */
  readonly deadline: Milliseconds;
}

// Topic, its length and the packet id of a PUBLISH. Our longest topic has under 256 bytes.
const PUBLISH_OVERHEAD_BYTES = 1024;

const guard: GuardLimits = {
  frames: { connectBytes: 2048, publishBytes: MAX_MESSAGE_BYTES + PUBLISH_OVERHEAD_BYTES, controlBytes: 8192 },
  // A device streams at most a few hundred tokens a second; the burst lets it empty its offline buffer.
  packets: { perSecond: 1000, burst: 4000 },
  bytes: { perSecond: 4 * 2 ** 20, burst: 16 * 2 ** 20 },
  longestHold: milliseconds(20_000),
  outboundBytes: 8 * 2 ** 20,
  stall: milliseconds(10_000),
};

export const DEFAULT_LIMITS: BrokerLimits = {
  connections: 12_000,
  connectionsPerAddress: 4_000,
  // One takes the broker 2 ms of a core; those refused in a storm come again after a while.
  handshakes: { atOnce: 512, atOncePerAddress: 128, deadline: milliseconds(10_000) },
  connectTimeout: milliseconds(10_000),
  guard,
  // It speaks for the whole fleet, and is ours.
  controllerGuard: {
    ...guard,
    packets: { perSecond: 50_000, burst: 200_000 },
    bytes: { perSecond: 256 * 2 ** 20, burst: 512 * 2 ** 20 },
    outboundBytes: 64 * 2 ** 20,
  },
};
