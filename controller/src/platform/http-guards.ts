import type { FastifyInstance } from 'fastify';

import { limitBodies } from './http-body-limit.js';
import { limitConnections, mostConnections } from './http-connections.js';
import { refuseUnknownMethods } from './http-methods.js';
import { limitReading, SERVER_LIMITS, type ServerLimits } from './http-server-options.js';
import { openFilesLimit } from './linux-open-files.js';

export interface Guards {
  /** Refuses who may not pass. */
  readonly access: (server: FastifyInstance) => void;
  /** By the path of the route. */
  readonly mostBodyBytes: (path: string | undefined) => number;
  /** By default as many as the system leaves room for. */
  readonly mostConnections?: number;
  /** Those that the server was made with. */
  readonly limits?: ServerLimits;
}

/** Everything that a client passes before a route of the server sees it. To be called before routes are added. */
export function guardServer(server: FastifyInstance, guards: Guards): void {
  const { access, mostBodyBytes, limits = SERVER_LIMITS } = guards;
  limitConnections(server.server, guards.mostConnections ?? mostConnections(openFilesLimit()));
  limitReading(server, limits);
  // Before anything can refuse: whoever complains of an answer can name it.
  server.addHook('onRequest', async (request, reply) => void reply.header('x-request-id', request.id));
  access(server);
  refuseUnknownMethods(server);
  limitBodies(server, mostBodyBytes, limits.bodyBytes);
}
