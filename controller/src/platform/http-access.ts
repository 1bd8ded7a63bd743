import type { FastifyInstance } from 'fastify';

import { type AccessPolicy, refusal } from './access.js';
import { httpError } from './error-body.js';
import { toldAt } from './messages-error-body.js';

/** Makes every request of a server pass `refusal` before anything else sees it, unknown paths included. */
export function guardAccess(server: FastifyInstance, policy: AccessPolicy): void {
  server.addHook('onRequest', async (request, reply) => {
    const error = refusal(
      {
        // The route that was matched, not the text of the address: `/%61pi/v1/devices` is served as `/api/v1/devices`.
        path: request.routeOptions.url ?? request.url.split('?', 1)[0] ?? '',
        authorization: request.headers.authorization ?? keyAsBearer(request.headers['x-api-key']),
        host: request.headers.host,
      },
      policy,
    );
    if (error === undefined) return undefined;
    const { status, headers, body } = toldAt(request.url, httpError(error), request.id);
    return reply.status(status).headers(headers).send(body);
  });
}

/** Clients of Anthropic's API send the key in a header of its own. */
function keyAsBearer(key: string | readonly string[] | undefined): string | undefined {
  return typeof key === 'string' ? `Bearer ${key}` : undefined;
}
