import type { ServerResponse } from 'node:http';

import { FleetError } from '@fleetgate/shared/errors';
import type { FastifyInstance } from 'fastify';
import type { Observable } from 'rxjs';

import { httpError } from '../platform/error-body.js';
import { toldAt } from '../platform/messages-error-body.js';
import { type AccessPolicy, judge } from './admission.js';
import { isChange, needOf } from './scopes.js';

/**
 * Makes every request of a server pass `judge` before anything else sees it, unknown paths included. When a key is
 * revoked, the answers that are under way to it end with their connections. To be called before routes are added: throws
 * where one is that has no scope.
 */
export function guardAccess(server: FastifyInstance, policy: AccessPolicy, revoked$?: Observable<string>): void {
  const answers = new Map<string, Set<ServerResponse>>();
  server.decorateRequest('caller', null);
  server.decorateRequest('noted', null);
  server.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (needOf(one, url) === undefined) throw unthoughtOf(one, url);
  });
  server.addHook('onRequest', async (request, reply) => {
    const { method, headers: sent } = request;
    // The route that was matched, not the text of the address: `/%61pi/v1/devices` is served as `/api/v1/devices`.
    const route = request.routeOptions.url;
    const authorization = sent.authorization ?? keyAsBearer(sent['x-api-key']);
    const { caller, key, error } = judge({ method, route, authorization, host: sent.host }, policy);
    request.caller = caller ?? null;
    // Changes are short, and one of them may be that a key revokes itself.
    if (key !== undefined && route !== undefined && !isChange(method, route)) keep(answers, key.id, reply.raw);
    if (error === undefined) return undefined;
    const { status, headers, body } = toldAt(request.url, httpError(error), request.id);
    return reply.status(status).headers(headers).send(body);
  });
  const ending = revoked$?.subscribe((id) => {
    for (const answer of answers.get(id) ?? []) answer.destroy();
  });
  server.addHook('onClose', async () => ending?.unsubscribe());
}

function unthoughtOf(method: string, url: string): FleetError {
  return new FleetError('internal.invariant', `${method} ${url} has no scope: give it one in access/scopes.ts`);
}

function keep(answers: Map<string, Set<ServerResponse>>, id: string, answer: ServerResponse): void {
  const ofKey = answers.get(id) ?? new Set();
  answers.set(id, ofKey.add(answer));
  answer.once('close', () => {
    ofKey.delete(answer);
    if (ofKey.size === 0) answers.delete(id);
  });
}

/** Clients of Anthropic's API send the key in a header of its own. */
function keyAsBearer(key: string | readonly string[] | undefined): string | undefined {
  return typeof key === 'string' ? `Bearer ${key}` : undefined;
}
