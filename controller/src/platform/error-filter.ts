import { isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { type HttpError, httpError, httpErrorByStatus } from './error-body.js';
import { toldAt } from './messages-error-body.js';

/**
 * The one place where an HTTP request's exception becomes an answer: FleetErrors by their code, Nest's and fastify's own
 * (unknown route, body too large, wrong content type) by their status, anything else as `internal_error`. Install with
 * `app.useGlobalFilters(new ErrorFilter(log))`. No body ever holds a stack.
 */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const answer = answerTo(thrown);
    if (answer.status >= 500 && !isExpected(thrown)) {
      this.#log.error('http.failed', {
        method: request.method,
        path: request.url.split('?', 1)[0],
        error: messageOf(thrown),
        stack: thrown instanceof Error ? thrown.stack : undefined,
      });
    }
    if (reply.sent || reply.raw.headersSent) {
      // The answer has begun: an end without its terminator is the only way left to say that it failed.
      reply.raw.destroy();
      return;
    }
    if (reply.getHeader('x-request-id') === undefined) void reply.header('x-request-id', request.id);
    void reply
      .status(answer.status)
      .headers({ ...answer.headers, 'content-type': 'application/json; charset=utf-8' })
      .send(toldAt(request.url, answer, request.id).body);
  }
}

function isExpected(thrown: unknown): boolean {
  return (isFleetError(thrown) && thrown.kind !== 'invariant') || thrown instanceof HttpException;
}

function answerTo(thrown: unknown): HttpError {
  if (thrown instanceof HttpException) return httpErrorByStatus(thrown.getStatus(), thrown.message);
  if (isFleetError(thrown)) return httpError(thrown);
  const status = thrown instanceof Error && 'statusCode' in thrown ? thrown.statusCode : undefined;
  if (thrown instanceof Error && typeof status === 'number' && status >= 400 && status < 500) {
    return httpErrorByStatus(status, thrown.message);
  }
  return httpError(thrown);
}
