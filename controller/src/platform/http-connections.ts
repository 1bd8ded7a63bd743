import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Of all systems; beyond it a connection is of more use to somebody who is at work. */
const MOST = 16_384;

/** Connections that a server may have open, of a process that may have so many files open: the rest is for its own work. */
export function mostConnections(openFiles: number | undefined): number {
  return Math.min(MOST, Math.floor((openFiles ?? 1024) / 2));
}

/**
 * Keeps a server to `most` connections. One more takes the place of the one that has been waiting for its client longest:
 * to send its first request, the rest of one, or the next. Where all are at work it is closed itself.
 *
 * Returns how many connections something is kept of.
 */
export function limitConnections(server: Server, most: number): () => number {
  const open = new Set<Socket>();
  /** Longest first. */
  const waiting = new Set<Socket>();
  const answering = new Map<Socket, number>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    waiting.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      waiting.delete(socket);
      answering.delete(socket);
    });
    if (open.size <= most) return;
    const [longest = socket] = waiting;
    // Its `close` comes later; until then it must not be chosen again.
    waiting.delete(longest);
    open.delete(longest);
    longest.destroy();
  });
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const begin = (): void => {
      if (!open.has(socket)) return;
      waiting.delete(socket);
      answering.set(socket, (answering.get(socket) ?? 0) + 1);
      response.once('close', () => {
        const left = (answering.get(socket) ?? 1) - 1;
        if (left > 0) answering.set(socket, left);
        else answering.delete(socket);
        if (left === 0 && open.has(socket)) waiting.add(socket);
      });
    };
    if (hasBody(request)) request.once('end', begin);
    else begin();
  });
  return () => new Set([...open, ...waiting, ...answering.keys()]).size;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
