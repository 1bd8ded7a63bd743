import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Tokens of every answer, each a frame of its own in a stream. */
export const ANSWER_FRAMES = 23;

/** Added to the `seed` of a request whose frames are to come one by one, a millisecond each. */
export const PACED = 1000;

export const words = (count: number): string => Array.from({ length: count }, () => 'word ').join('');

/** What a process of the rig says when it serves. */
export interface Ready {
  readonly kind: 'ready';
  readonly port: number;
}

/** Listens on a free port of this machine, says so to the parent, and ends with it. */
export function serve(server: Server): void {
  // No connection is closed between rounds: who would send into a closed one counts an error that is nobody's.
  server.keepAliveTimeout = 600_000;
  server.listen(0, '127.0.0.1', () => ready((server.address() as AddressInfo).port));
}

export function ready(port: number): void {
  const message: Ready = { kind: 'ready', port };
  process.send?.(message);
  process.on('disconnect', () => process.exit());
}
