import type { FastifyInstance } from 'fastify';
import helmet from 'helmet';

/** Sets what keeps browsers from doing more with an answer than showing it. To be called before routes are added. */
export function setSecurityHeaders(server: FastifyInstance): void {
  const secure = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
        formAction: ["'self'"],
      },
    },
    // The controller speaks plain HTTP; a proxy that adds TLS adds this header too.
    strictTransportSecurity: false,
  });
  // @fastify/helmet makes the policy anew for every request: 3 % of what an answer costs.
  server.addHook('onRequest', (request, reply, done) => secure(request.raw, reply.raw, () => done()));
}
