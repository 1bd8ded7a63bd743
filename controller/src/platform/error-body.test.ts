import { type ErrorCode, ERROR_KINDS, FleetError } from '@fleetgate/shared/errors';
import { describe, expect, it } from 'vitest';

import { errorFrame, httpError, httpErrorByStatus } from './error-body.js';

describe('httpError', () => {
  it.each<[ErrorCode, number, string, string, string]>([
    ['request.invalid', 400, 'invalid_request_error', 'request.invalid', 'false'],
    ['auth.missing', 401, 'authentication_error', 'invalid_api_key', 'false'],
    ['auth.forbidden', 403, 'permission_error', 'auth.forbidden', 'false'],
    ['model.unknown', 404, 'invalid_request_error', 'model_not_found', 'false'],
    ['dispatch.over-budget', 429, 'rate_limit_error', 'energy_budget_exceeded', 'false'],
    ['job.queue-full', 429, 'rate_limit_error', 'rate_limit_exceeded', 'true'],
    ['dispatch.no-plan', 503, 'server_error', 'model_loading', 'true'],
    ['device.lost', 502, 'server_error', 'device_lost', 'true'],
    ['dispatch.deadline', 504, 'timeout_error', 'deadline_exceeded', 'false'],
    ['internal.invariant', 500, 'server_error', 'internal_error', 'false'],
  ])('answers %s as %i %s %s', (code, status, type, wireCode, retry) => {
    const answer = httpError(new FleetError(code, 'what happened'));
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ type, code: wireCode, param: null });
    expect(answer.headers['x-should-retry']).toBe(retry);
  });

  it('has an answer for every code of the list', () => {
    for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
      const { status, body } = httpError(new FleetError(code, 'm'));
      expect(status, code).toBeGreaterThanOrEqual(400);
      if (ERROR_KINDS[code] === 'input') expect(status, code).toBeLessThan(500);
      expect(typeof body.error.code).toBe('string');
    }
  });

  it('never asks for a wait of more than 30 s, nor for one of 0', () => {
    const wait = (retryAfterMs: number) =>
      httpError(new FleetError('dispatch.no-plan', 'm', { context: { retryAfterMs } })).headers['retry-after'];
    expect(wait(3_600_000)).toBe('30');
    expect(wait(0)).toBe('1');
    expect(wait(2_100)).toBe('3');
  });

  it('names the field at fault and the hint, and tells how far loading is', () => {
    const invalid = new FleetError('request.invalid', 'm', { hint: 'h', context: { param: 'messages.0.role' } });
    expect(httpError(invalid).body.error).toMatchObject({ param: 'messages.0.role', hint: 'h' });
    const context = { loadingModel: 'math', loadingState: 'fetching', loadingNode: 'pi', loadingProgress: 0.25 };
    const loading = new FleetError('dispatch.loading', 'm', { context });
    expect(httpError(loading).body.loading).toEqual({ model: 'math', state: 'fetching', node: 'pi', progress: 0.25 });
    expect(Object.keys(errorFrame(loading))).toEqual(['error']);
  });

  it('shows nothing of an error that is not ours', () => {
    const body = JSON.stringify(httpError(new Error('secret at /home/x.ts:12')).body);
    expect(body).not.toContain('secret');
    expect(body).toContain('internal_error');
  });

  it('answers what the HTTP layer found by its status', () => {
    expect(httpErrorByStatus(404, 'Cannot GET /x').body.error.code).toBe('unknown_url');
    expect(httpErrorByStatus(413, 'too large').status).toBe(413);
    expect(httpErrorByStatus(415, 'no').body.error.code).toBe('unsupported_media_type');
    expect(httpErrorByStatus(299, 'odd').status).toBe(500);
  });
});
