import { describe, expect, it } from 'vitest';

import { isChange, needOf } from './scopes.js';

describe('the scope of a route', () => {
  it.each([
    ['POST', '/v1/chat/completions', 'infer'],
    ['DELETE', '/v1/files/:id', 'infer'],
    ['GET', '/api/v1/plans', 'read'],
    ['HEAD', '/api/v1/plans', 'read'],
    ['POST', '/api/v1/plans/:id/apply', 'operate'],
    ['PUT', '/api/v1/budgets', 'operate'],
    ['GET', '/api/v1/keys', 'admin'],
    ['PUT', '/api/v1/tenants/:name', 'admin'],
    ['GET', '/api/v1/audit', 'admin'],
    ['GET', '/api/v1/artefacts/:sha256', 'device'],
    ['GET', '/healthz', 'open'],
  ] as const)('of %s %s is %s', (method, route, need) => {
    expect(needOf(method, route)).toBe(need);
  });

  it.each([
    ['GET', '/api/v1/enrol'],
    ['DELETE', '/api/v1/audit'],
    ['PUT', '/api/v1/artefacts/:sha256'],
    ['GET', '/api/v1/new-thing'],
    ['GET', '/api/v1'],
    ['GET', '/api/v2/devices'],
    ['GET', '/v1'],
    ['POST', '/metrics'],
    ['POST', '/*'],
    ['GET', '/api/v1/__proto__'],
  ])('of %s %s is for nobody to guess', (method, route) => {
    expect(needOf(method, route)).toBeUndefined();
  });

  it('is a change where more than the fleet is asked', () => {
    expect(isChange('POST', '/api/v1/enrol')).toBe(true);
    expect(isChange('PATCH', '/api/v1/new-thing')).toBe(true);
    expect(isChange('POST', '/api/v1/score')).toBe(false);
    expect(isChange('POST', '/v1/chat/completions')).toBe(false);
    expect(isChange('GET', '/api/v1/keys')).toBe(false);
  });
});
