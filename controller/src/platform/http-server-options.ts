import { type ServerOptions, STATUS_CODES, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { httpErrorByStatus } from './error-body.js';

/** How long a client may take for what, and how much it may send, before it is sent away. */
export interface ServerLimits {
  /** Head of a request, from its first byte or, of the first one, from the connection on. */
  readonly headMs: number;
  /** Head and body: the largest body within it needs 35 kB/s. */
  readonly requestMs: number;
  /** How often the two before are looked after. */
  readonly checkMs: number;
  /** Between requests. Longer than the 60 s after which proxies drop theirs, who would else send into a closed one. */
  readonly keepAliveMs: number;
  /** Without taking anything of an answer that waits for it. */
  readonly readMs: number;
  /** All headers together; Node's own limit. */
  readonly headBytes: number;
  /** Of all bodies that are being received, each counted as long as it will be. */
  readonly bodyBytes: number;
}

export const SERVER_LIMITS: ServerLimits = Object.freeze({
  headMs: 10_000,
  requestMs: 30_000,
  checkMs: 2_000,
  keepAliveMs: 72_000,
  readMs: 60_000,
  headBytes: 16 * 1024,
  bodyBytes: 64 * 1024 * 1024,
});

/** Longest part of a path that is a name. */
const MOST_NAME_CHARACTERS = 200;

/**
 * Options of fastify's server: limits, and answers in the one envelope also where no request came of what was sent.
 *
 * There is no time-out of silent connections (`connectionTimeout`): an answer may be computed for minutes. Nor a limit of
 * requests a connection: ending one frees nothing that a client could not have again at once.
 */
export function serverOptions(limits: ServerLimits = SERVER_LIMITS) {
  const http: ServerOptions = {
    headersTimeout: limits.headMs,
    connectionsCheckingInterval: limits.checkMs,
    maxHeaderSize: limits.headBytes,
  };
  return {
    http,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: MOST_NAME_CHARACTERS },
    clientErrorHandler,
    frameworkErrors,
  };
}

/** Gives up a client that does not take its answer: the answer and its connection would be kept for it for ever. */
export function limitReading(server: FastifyInstance, { readMs }: Pick<ServerLimits, 'readMs'>): void {
  server.addHook('onSend', (_request, reply, payload, done) => {
    // Counts while nothing moves, so a long download may take as long as it likes; Node sets it back after the answer.
    reply.raw.setTimeout(readMs);
    done(null, payload);
  });
}

/** What the parser of HTTP refused. */
function clientErrorHandler(
  error: Error & { readonly code?: string },
  socket: Socket & { readonly _httpMessage?: ServerResponse | null },
): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  // Within an answer that has begun this would be taken for a part of it.
  if (socket.writable && socket._httpMessage?.headersSent !== true) socket.write(refusalOf(error.code));
  socket.destroy();
}

function refusalOf(code: string | undefined): string {
  const [status, message] = faultOf(code);
  const { headers, body } = httpErrorByStatus(status, message);
  const text = JSON.stringify(body);
  const all = {
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(text)),
    connection: 'close',
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('\r\n')}\r\n\r\n${text}`;
}

function faultOf(code: string | undefined): readonly [status: number, message: string] {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return [408, 'the request did not come to its end in time'];
  if (code === 'HPE_HEADER_OVERFLOW') return [431, 'the headers are too large'];
  return [400, 'this is no HTTP request'];
}

/** What the router refused: no hook and no filter sees it. */
function frameworkErrors(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  const isLong = error.code === 'FST_ERR_MAX_PARAM_LENGTH';
  const message = isLong
    ? `a name in the path is longer than ${MOST_NAME_CHARACTERS} characters`
    : 'the path is malformed';
  const { status, headers, body } = httpErrorByStatus(isLong ? 414 : (error.statusCode ?? 400), message);
  void reply.status(status).headers(headers).send(body);
}
