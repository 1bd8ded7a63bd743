import { createHash } from 'node:crypto';

import { messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import type { ArtefactSources, Peer } from '@fleetgate/shared/protocol/artefact-sources';

import type { Artefact } from './artefact-store.js';
import type { ArtefactSource } from './http-artefact-source.js';
import type { Pace } from './pace.js';
import { type Range, rangesFrom } from './range-plan.js';

/** Ranges in flight: what is held in memory is this many of them. */
const AT_ONCE = 3;
/** A peer that takes longer for a range is slower than any controller. */
const RANGE_MS = 60_000;

/** Bytes fetched since the agent was started, by where they came from. */
export interface Fetched {
  peersBytes: number;
  controllerBytes: number;
}

export interface PeerSourceParts {
  /** What the controller says; undefined: nothing, as one of an earlier release does. */
  readonly sources: (artefact: Artefact, signal: AbortSignal) => Promise<ArtefactSources | undefined>;
  /** Those to ask, the best first. */
  readonly order: (peers: readonly Peer[]) => readonly Peer[];
  readonly fetchRange: (peer: Peer, sha256: string, range: Range, signal: AbortSignal) => Promise<Buffer>;
  /** For all that no peer has, or gives. */
  readonly controller: ArtefactSource;
  readonly pace: Pace;
  readonly fetched: Fetched;
  readonly log: Logger;
}

/**
 * Artefacts range by range from peers, the rest from the controller. A range whose digest is wrong is thrown away, and the
 * peer that gave it is asked no more and named; so is one that fails or is too slow. Ranges are handed on in order, so that
 * what is on disk after a crash is a checked beginning.
 */
export function peerSource(parts: PeerSourceParts): ArtefactSource {
  return async (artefact, offset, signal, take) => {
    const told = await parts.sources(artefact, signal);
    const plan = told === undefined ? undefined : rangesFrom(offset, artefact.sizeBytes, told);
    const peers = plan === undefined ? [] : [...parts.order(told?.peers ?? [])];
    if (plan === undefined || peers.length === 0) return fromController(parts, artefact, offset, signal, take);
    let reached = offset;
    await take(
      offset,
      fromPeers({ artefact, plan, peers, signal, parts }, offset, (end) => (reached = end)),
    );
    const restBytes = artefact.sizeBytes - reached;
    parts.log.info('artefact.from-peers', { sha256: artefact.sha256, bytes: reached - offset, restBytes });
    if (restBytes === 0) return undefined;
    return fromController(parts, artefact, reached, signal, take);
  };
}

interface Fetching {
  readonly artefact: Artefact;
  readonly plan: readonly Range[];
  /** Shrinks as peers fail. */
  readonly peers: Peer[];
  readonly signal: AbortSignal;
  readonly parts: PeerSourceParts;
}

/** Ends early when no peer is left. */
async function* fromPeers(fetching: Fetching, offset: number, onEnd: (end: number) => void): AsyncIterable<Uint8Array> {
  const stop = new AbortController();
  const signal = AbortSignal.any([fetching.signal, stop.signal]);
  const open: { readonly range: Range; readonly bytes: Promise<Buffer | undefined> }[] = [];
  let next = 0;
  try {
    for (;;) {
      for (; open.length < AT_ONCE && next < fetching.plan.length; next++) {
        const range = fetching.plan[next] as Range;
        const bytes = checkedRange(fetching, range, next, signal);
        // Awaited in its turn below; until then a failure is nobody's.
        bytes.catch(() => {});
        open.push({ range, bytes });
      }
      const first = open.shift();
      const bytes = await first?.bytes;
      if (first === undefined || bytes === undefined) return;
      await fetching.parts.pace(bytes.length, signal);
      fetching.parts.fetched.peersBytes += bytes.length;
      yield bytes.subarray(Math.max(0, offset - first.range.start));
      onEnd(first.range.end);
    }
  } finally {
    stop.abort();
  }
}

/** A range by the first peer that gives it right; undefined when none is left. */
async function checkedRange(
  { artefact, peers, parts }: Fetching,
  range: Range,
  turn: number,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  for (;;) {
    signal.throwIfAborted();
    // The nearest few in turn: all of them give what their lines allow.
    const peer = peers[turn % Math.min(peers.length, AT_ONCE)];
    if (peer === undefined) return undefined;
    try {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(RANGE_MS)]);
      const bytes = await parts.fetchRange(peer, artefact.sha256, range, deadline);
      const found = createHash('sha256').update(bytes).digest('hex');
      if (found === range.sha256) return bytes;
      drop(peers, peer, parts.log, `bytes ${range.start}-${range.end} have sha256 ${found}, expected ${range.sha256}`);
    } catch (error) {
      signal.throwIfAborted();
      drop(peers, peer, parts.log, messageOf(error));
    }
  }
}

function drop(peers: Peer[], peer: Peer, log: Logger, reason: string): void {
  const at = peers.indexOf(peer);
  if (at < 0) return;
  peers.splice(at, 1);
  log.warn('artefact.peer-dropped', { peer: peer.deviceId, url: peer.url, reason });
}

function fromController(
  { controller, pace, fetched }: PeerSourceParts,
  artefact: Artefact,
  offset: number,
  signal: AbortSignal,
  take: Parameters<ArtefactSource>[3],
): Promise<void> {
  return controller(artefact, offset, signal, (start, chunks) => {
    const paced = async function* (): AsyncIterable<Uint8Array> {
      for await (const chunk of chunks) {
        await pace(chunk.length, signal);
        fetched.controllerBytes += chunk.length;
        yield chunk;
      }
    };
    return take(start, paced());
  });
}
