import { FleetError } from '@fleetgate/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { httpError } from './error-body.js';
import { toldAt } from './messages-error-body.js';

/** More than this is not even read: the connection is closed on whoever sends it. */
const MOST_READ_BYTES = 64 * 1024 * 1024;
const READ_DEADLINE_MS = 10_000;

/**
 * Answers bodies of more than `limitOf` bytes, which is asked with the route's path, with 413. While all that are being received
 * come to more than `mostOpen`, the ones that have taken longest are given up with 503: an honest client's takes milliseconds.
 *
 * The body is read to its end and thrown away first: a client that is still sending when the connection closes sees a
 * broken pipe instead of the answer.
 */
export function limitBodies(
  server: FastifyInstance,
  limitOf: (path: string | undefined) => number,
  mostOpen: number,
): void {
  let open = 0;
  /** Oldest first. */
  const bodies = new Set<{ readonly giveUp: () => void }>();
  server.addHook('onRequest', async (request, reply) => {
    const limit = limitOf(request.routeOptions.url);
    const length = lengthOf(request, limit);
    if (length === 0) return undefined;
    if (length > limit) {
      if (length <= MOST_READ_BYTES) await read(request);
      return refuse(request, reply, tooLarge(length, limit));
    }
    const body = {
      giveUp: (): void => {
        settle();
        void refuse(request, reply, tooMany());
      },
    };
    const settle = (): void => {
      if (bodies.delete(body)) open -= length;
    };
    for (const oldest of bodies) if (open + length > mostOpen) oldest.giveUp();
    bodies.add(body);
    open += length;
    request.raw.once('end', settle).once('close', settle);
    return undefined;
  });
}

/** As the client says; one that does not say may send as much as anybody. */
function lengthOf({ headers }: FastifyRequest, limit: number): number {
  if (headers['transfer-encoding'] !== undefined) return limit;
  const length = Number(headers['content-length'] ?? 0);
  return Number.isFinite(length) ? length : 0;
}

function read({ raw }: FastifyRequest): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, READ_DEADLINE_MS);
    const settle = (): void => {
      clearTimeout(timer);
      resolve();
    };
    raw.once('end', settle).once('close', settle).resume();
  });
}

/** The connection is closed: what is left of the body on it would be taken for the next request. */
function refuse({ id, url }: FastifyRequest, reply: FastifyReply, error: FleetError): FastifyReply {
  const { status, headers, body } = toldAt(url, httpError(error), id);
  return reply.status(status).headers(headers).header('connection', 'close').send(body);
}

function tooLarge(length: number, limit: number): FleetError {
  return new FleetError('request.too-large', `the body has ${length} bytes, expected at most ${limit}`, {
    hint: 'send less: no model of the fleet has room for as much, and files may be several',
  });
}

function tooMany(): FleetError {
  return new FleetError('dispatch.no-capacity', 'too many bodies are being received at once', { retryable: true });
}
