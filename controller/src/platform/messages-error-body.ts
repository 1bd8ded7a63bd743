import type { HttpError } from './error-body.js';

/** An error as one of the APIs tells it. */
export interface ToldError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** An error in the words of the API that an address belongs to: Anthropic's for /v1/messages, OpenAI's for the rest. */
export function toldAt(path: string, error: HttpError, requestId?: string): ToldError {
  if (!/^\/v1\/messages(?:[/?]|$)/.test(path)) return error;
  return { ...error, body: messagesErrorBody(error, requestId) };
}

/** Code, field and hint are additive. */
export function messagesErrorBody({ status, body }: HttpError, requestId?: string): object {
  const { message, code, param, hint } = body.error;
  return {
    type: 'error',
    error: { type: typeOf(status), message, code, param, ...(hint === undefined ? {} : { hint }) },
    ...(requestId === undefined ? {} : { request_id: requestId }),
  };
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return 'authentication_error';
    case 403:
      return 'permission_error';
    case 404:
      return 'not_found_error';
    case 413:
      return 'request_too_large';
    case 429:
      return 'rate_limit_error';
    case 503:
      return 'overloaded_error';
    case 504:
      return 'timeout_error';
    default:
      return status < 500 ? 'invalid_request_error' : 'api_error';
  }
}
