import type { FastifyInstance } from 'fastify';

import { httpErrorByStatus } from './error-body.js';

/** Answers 405, with the methods that there are, where a path is known by other ones. To be called before routes are added. */
export function refuseUnknownMethods(server: FastifyInstance): void {
  const routes = new Map<string, { readonly path: RegExp; readonly methods: Set<string> }>();
  server.addHook('onRoute', ({ url, method }) => {
    // Of the dashboard's files and of whatever is unknown.
    if (url.includes('*')) return;
    const route = routes.get(url) ?? { path: patternOf(url), methods: new Set() };
    for (const one of [method].flat()) route.methods.add(one);
    routes.set(url, route);
  });
  server.addHook('onRequest', async (request, reply) => {
    if (!request.is404) return undefined;
    const path = request.url.split('?', 1)[0] ?? '';
    const methods = [...routes.values()].flatMap((route) => (route.path.test(path) ? [...route.methods] : []));
    if (methods.length === 0) return undefined;
    const allowed = [...new Set(methods)].toSorted().join(', ');
    const { status, headers, body } = httpErrorByStatus(405, `${request.method} is not for ${path.slice(0, 200)}`, {
      hint: `it takes ${allowed}`,
    });
    return reply
      .status(status)
      .headers({ ...headers, allow: allowed })
      .send(body);
  });
}

/** `/v1/models/:id` as a pattern. */
function patternOf(url: string): RegExp {
  const exactly = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const segments = url.split('/').map((segment) => (segment.startsWith(':') ? '[^/]+' : exactly(segment)));
  return new RegExp(`^${segments.join('/')}$`);
}
