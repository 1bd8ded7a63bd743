import type { FastifyInstance } from 'fastify';
import { FleetError } from '@fleetgate/shared/errors';

import { httpError } from './error-body.js';
import { toldAt } from './messages-error-body.js';

/** More than this is not even read: the connection is closed on whoever sends it. */
const MOST_READ_BYTES = 64 * 1024 * 1024;
const READ_DEADLINE_MS = 10_000;

/**
 * Answers bodies of more than `limit` bytes with 413.
 *
 * The body is read to its end and thrown away first: a client that is still sending when the connection closes sees a
 * broken pipe instead of the answer.
 */
export function limitBodies(server: FastifyInstance, limit: number): void {
  server.addHook('onRequest', async (request, reply) => {
    const length = Number(request.headers['content-length'] ?? 0);
    if (!(length > limit)) return undefined;
    if (length <= MOST_READ_BYTES) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, READ_DEADLINE_MS);
        const settle = (): void => {
          clearTimeout(timer);
          resolve();
        };
        request.raw.once('end', settle).once('close', settle).resume();
      });
    }
    const error = httpError(
      new FleetError('request.too-large', `the body has ${length} bytes, expected at most ${limit}`, {
        hint: 'shorten the prompt: no model of the fleet has room for as much',
      }),
    );
    const { status, headers, body } = toldAt(request.url, error, request.id);
    return reply.status(status).headers(headers).header('connection', 'close').send(body);
  });
}
