import type { FastifyInstance } from 'fastify';

import { type AccessPolicy, refusal } from './access.js';
import { httpError } from './error-body.js';

/** Makes every request of a server pass `refusal` before anything else sees it, unknown paths included. */
export function guardAccess(server: FastifyInstance, policy: AccessPolicy): void {
  server.addHook('onRequest', async (request, reply) => {
    const error = refusal(
      {
        // The route that was matched, not the text of the address: `/%61pi/v1/devices` is served as `/api/v1/devices`.
        path: request.routeOptions.url ?? request.url.split('?', 1)[0] ?? '',
        authorization: request.headers.authorization,
        host: request.headers.host,
      },
      policy,
    );
    if (error === undefined) return undefined;
    const { status, headers, body } = httpError(error);
    return reply.status(status).headers(headers).send(body);
  });
}
