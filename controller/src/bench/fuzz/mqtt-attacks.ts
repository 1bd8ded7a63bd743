import { connect } from 'node:net';

import { FrameReader, type Received } from '../scale/mqtt-frames.js';

const DEADLINE_MS = 5_000;

/** What a broker did with a connection. */
export interface Outcome {
  /** A CONNACK of 0 came. */
  readonly letIn: boolean;
  /** Topics of what it was sent. */
  readonly topics: readonly string[];
  readonly endedBy: 'broker' | 'us' | 'deadline';
}

/** Sends `frames` over a connection of its own. It is over when the broker ends it, or when `isEnough` of what came. */
export function attack(
  url: URL,
  frames: readonly Buffer[],
  isEnough: (received: readonly Received[]) => boolean,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const all: Received[] = [];
    const reader = new FrameReader();
    let endedBy: Outcome['endedBy'] = 'broker';
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    const end = (by: Outcome['endedBy']): void => {
      endedBy = by;
      socket.destroy();
    };
    const timer = setTimeout(() => end('deadline'), DEADLINE_MS);
    socket.once('connect', () => socket.write(Buffer.concat(frames)));
    socket.on('data', (chunk) => {
      all.push(...reader.read(chunk));
      if (isEnough(all)) end('us');
    });
    // `close` follows.
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve({
        letIn: all.some((received) => received.kind === 'connected' && received.code === 0),
        topics: all.flatMap((received) => (received.kind === 'published' ? [received.topic] : [])),
        endedBy,
      });
    });
  });
}
