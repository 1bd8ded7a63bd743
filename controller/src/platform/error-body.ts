import { type ErrorCode, type FleetError, isFleetError } from '@fleetgate/shared/errors';
import type { ErrorBody } from '@fleetgate/shared/api/operations';

/** A client must never be told to wait longer: the openai client obeys Retry-After without a cap of its own. */
export const MAX_RETRY_AFTER_S = 30;

/** What a client may show while it waits for a model; fields that are not known are left out rather than guessed. */
export interface LoadingBody {
  readonly model: string;
  readonly state: string;
  readonly node?: string;
  readonly progress?: number;
}

/** An error as the HTTP API answers it. `loading` is additive, beside `error`. */
export interface HttpError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ErrorBody & { readonly loading?: LoadingBody };
}

type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'rate_limit_error'
  | 'server_error'
  | 'timeout_error';

interface Row {
  readonly status: number;
  readonly type: ErrorType;
  /** OpenAI's word for it, where it has one; else the code of ours. */
  readonly code?: string;
  /**
   * What `x-should-retry` says: the client's own rule retries 408, 409, 429 and every 5xx. `by-error` follows the
   * error's `retryable`.
   */
  readonly retry: 'never' | 'always' | 'by-error';
  readonly retryAfterS?: number;
}

const badRequest: Row = { status: 400, type: 'invalid_request_error', retry: 'never' };
const notFound: Row = { ...badRequest, status: 404 };
const conflict: Row = { ...badRequest, status: 409 };
const unprocessable: Row = { ...badRequest, status: 422 };
const unavailable: Row = { status: 503, type: 'server_error', retry: 'by-error' };

/** Codes without a row are faults of the server: 500. */
const ROWS: Partial<Record<ErrorCode, Row>> = {
  'usage.invalid': badRequest,
  'config.invalid': badRequest,
  'request.invalid': badRequest,
  'request.too-large': { ...badRequest, status: 413 },
  'request.not-found': notFound,
  'rollout.unknown': notFound,
  'rollout.ended': conflict,
  'rollout.conflict': conflict,
  'release.untrusted': unprocessable,
  'release.tampered': unprocessable,
  'release.downgraded': unprocessable,
  'request.not-ended': { ...conflict, retry: 'by-error', retryAfterS: 1 },
  'request.not-rateable': conflict,
  'request.key-reused': { ...unprocessable, code: 'idempotency_key_reused' },
  'auth.missing': { status: 401, type: 'authentication_error', code: 'invalid_api_key', retry: 'never' },
  'auth.invalid': { status: 401, type: 'authentication_error', code: 'invalid_api_key', retry: 'never' },
  'auth.forbidden': { status: 403, type: 'permission_error', retry: 'never' },
  'key.unknown': notFound,
  'key.too-many': conflict,
  'request.rate-limited': {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    retry: 'always',
  },
  'enrol.bad-token': { status: 401, type: 'authentication_error', retry: 'never' },
  'enrol.name-taken': conflict,
  'enrol.bad-request': badRequest,
  'enrol.key-reused': conflict,
  'enrol.denied': { status: 403, type: 'permission_error', retry: 'never' },
  'enrol.clock-off': badRequest,
  'enrol.foreign-authority': badRequest,
  'enrol.certificate-refused': { status: 401, type: 'authentication_error', retry: 'never' },
  'enrol.too-many-attempts': {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    retry: 'by-error',
  },
  'device.unknown': notFound,
  'model.unknown': { ...notFound, code: 'model_not_found' },
  'expert.invalid-card': badRequest,
  'expert.exists': conflict,
  'board.unknown': badRequest,
  'board.invalid': badRequest,
  'board.unsupported': badRequest,
  'board-config.invalid': badRequest,
  'plan.unknown': notFound,
  'plan.infeasible': unprocessable,
  'plan.stale': { ...conflict, retry: 'always' },
  'budget.invalid': badRequest,
  'instance.invalid': badRequest,
  'outcomes.invalid': badRequest,
  'gate.invalid-model': badRequest,
  'protocol.malformed': badRequest,
  'protocol.unsupported-version': badRequest,
  'protocol.too-large': { ...badRequest, status: 413 },
  'gguf.malformed': unprocessable,
  'gguf.unsupported': unprocessable,
  'artefact.corrupt': { ...unavailable, status: 502 },
  'artefact.unavailable': unavailable,
  'artefact.disk-full': { ...unavailable, status: 507 },
  'broker.unreachable': { ...unavailable, retry: 'always', retryAfterS: 2 },
  'broker.refused': { ...unavailable, status: 502 },
  'broker.cannot-share': unavailable,
  'leader.fenced': unavailable,
  'controller.unreachable': unavailable,
  'store.unavailable': unavailable,
  'engine.unavailable': unavailable,
  'engine.crashed': { ...unavailable, status: 502, retryAfterS: 1 },
  'engine.timeout': { ...unavailable, status: 504, type: 'timeout_error' },
  'engine.out-of-memory': unavailable,
  'job.rejected': { ...unavailable, status: 502, retryAfterS: 1 },
  'job.unreadable': { ...unavailable, status: 502 },
  'job.queue-full': {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    retry: 'always',
    retryAfterS: 2,
  },
  'job.expired': { status: 504, type: 'timeout_error', retry: 'by-error' },
  'job.cancelled': unavailable,
  'device.lost': { ...unavailable, status: 502, code: 'device_lost', retry: 'always', retryAfterS: 1 },
  'dispatch.no-capacity': { ...unavailable, code: 'no_capacity', retryAfterS: 5 },
  'dispatch.no-plan': { ...unavailable, code: 'model_loading', retry: 'always', retryAfterS: 5 },
  'dispatch.loading': { ...unavailable, code: 'model_loading', retry: 'always', retryAfterS: 5 },
  'dispatch.over-budget': { status: 429, type: 'rate_limit_error', code: 'energy_budget_exceeded', retry: 'by-error' },
  'dispatch.over-latency': {
    status: 429,
    type: 'rate_limit_error',
    code: 'latency_budget_exceeded',
    retry: 'by-error',
  },
  'dispatch.deadline': { status: 504, type: 'timeout_error', code: 'deadline_exceeded', retry: 'by-error' },
  'solver.failed': unavailable,
  'solver.timeout': { ...unavailable, status: 504, type: 'timeout_error' },
};

const INTERNAL: Row = { status: 500, type: 'server_error', code: 'internal_error', retry: 'never' };

/**
 * The HTTP answer to anything thrown. Only a FleetError's message is shown; whatever else was thrown is a fault of ours
 * and answers `internal_error` without a word of its text or stack.
 *
 * Read from the error's `context`: `param` (the request field at fault), `retryAfterMs`, and for `model_loading`
 * `loadingModel`, `loadingState`, `loadingNode`, `loadingProgress`.
 */
export function httpError(thrown: unknown): HttpError {
  if (!isFleetError(thrown) || thrown.kind === 'invariant') return envelope(INTERNAL, 'internal error', {});
  const row = ROWS[thrown.code] ?? INTERNAL;
  const { param, retryAfterMs } = thrown.context;
  return envelope({ ...row, code: row.code ?? thrown.code }, thrown.message, {
    param: typeof param === 'string' ? param : undefined,
    hint: thrown.hint,
    retryable: thrown.retryable,
    retryAfterMs: typeof retryAfterMs === 'number' ? retryAfterMs : undefined,
    loading: loadingOf(thrown),
  });
}

/** The answer to an error that the HTTP layer itself found (unknown route, body too large, not JSON), by its status. */
export function httpErrorByStatus(status: number, message: string, more: { readonly hint?: string } = {}): HttpError {
  switch (status) {
    case 401:
      return envelope({ ...INTERNAL, status, type: 'authentication_error', code: 'invalid_api_key' }, message, {});
    case 403:
      return envelope({ ...INTERNAL, status, type: 'permission_error', code: 'auth.forbidden' }, message, {});
    case 404:
      return envelope({ ...notFound, code: 'unknown_url' }, message, {});
    case 405:
      return envelope({ ...badRequest, status, code: 'method_not_supported' }, message, more);
    case 413:
      return envelope({ ...badRequest, status, code: 'request.too-large' }, message, {});
    case 415:
      return envelope({ ...badRequest, status, code: 'unsupported_media_type' }, message, {
        hint: 'send the body as content-type: application/json',
      });
    case 408:
      return envelope({ status, type: 'timeout_error', code: 'request_timeout', retry: 'always' }, message, {});
    default:
      if (status >= 400 && status < 500) {
        return envelope({ ...badRequest, status, code: 'request.invalid' }, message, {});
      }
      return envelope({ ...INTERNAL, status: status >= 500 && status < 600 ? status : 500 }, 'internal error', {});
  }
}

/** The `error` member alone: what a stream that has begun can still say. */
export function errorFrame(thrown: unknown): ErrorBody {
  const { error } = httpError(thrown).body;
  return { error };
}

function envelope(
  row: Row,
  message: string,
  more: {
    readonly param?: string | undefined;
    readonly hint?: string | undefined;
    readonly retryable?: boolean;
    readonly retryAfterMs?: number | undefined;
    readonly loading?: LoadingBody | undefined;
  },
): HttpError {
  const retry = row.retry === 'always' || (row.retry === 'by-error' && more.retryable === true);
  const headers: Record<string, string> = { 'x-should-retry': String(retry) };
  const waitS = more.retryAfterMs === undefined ? row.retryAfterS : Math.ceil(more.retryAfterMs / 1000);
  if (retry && waitS !== undefined) {
    headers['retry-after'] = String(Math.min(MAX_RETRY_AFTER_S, Math.max(1, waitS)));
  }
  if (row.status === 401) headers['www-authenticate'] = 'Bearer';
  return {
    status: row.status,
    headers,
    body: {
      error: {
        message,
        type: row.type,
        param: more.param ?? null,
        code: row.code ?? null,
        ...(more.hint === undefined ? {} : { hint: more.hint }),
      },
      ...(more.loading === undefined ? {} : { loading: more.loading }),
    },
  };
}

function loadingOf({ context }: FleetError): LoadingBody | undefined {
  const { loadingModel, loadingState, loadingNode, loadingProgress } = context;
  if (typeof loadingModel !== 'string' || typeof loadingState !== 'string') return undefined;
  return {
    model: loadingModel,
    state: loadingState,
    ...(typeof loadingNode === 'string' ? { node: loadingNode } : {}),
    ...(typeof loadingProgress === 'number' ? { progress: loadingProgress } : {}),
  };
}
