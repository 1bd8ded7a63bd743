import { describe, expect, it } from 'vitest';

import { type AccessPolicy, refusal } from './access.js';

const KEY = 'the-key-of-this-fleet';
const locked: AccessPolicy = {
  apiKey: KEY,
  hosts: undefined,
  isDevice: (id, secret) => id === 'pi' && secret === 'device-secret',
};
const local: AccessPolicy = { ...locked, apiKey: undefined, hosts: new Set(['127.0.0.1', 'localhost', '::1']) };
const ask = (policy: AccessPolicy, path: string, authorization?: string, host = '127.0.0.1:8080'): string =>
  refusal({ path, authorization, host }, policy)?.code ?? 'ok';

describe('access', () => {
  it('lets everything through on loopback without a key', () => {
    expect(['/v1/models', '/api/v1/devices', '/'].map((path) => ask(local, path))).toEqual(['ok', 'ok', 'ok']);
  });

  it.each(['evil.example', 'evil.example:8080', '', '10.0.0.1'])('refuses the rebound name %j', (host) => {
    expect(ask(local, '/api/v1/devices', undefined, host)).toBe('auth.forbidden');
  });

  it.each(['localhost:1', '[::1]:8080', '127.0.0.1'])('answers to %j', (host) => {
    expect(ask(local, '/v1/models', undefined, host)).toBe('ok');
  });

  it('asks for the key on every path that shows or changes state', () => {
    for (const path of ['/v1/chat/completions', '/v1', '/api/v1/devices', '/api/openapi.json', '/metrics', '/readyz']) {
      expect(ask(locked, path), path).toBe('auth.missing');
      expect(ask(locked, path, 'Bearer nonsense'), path).toBe('auth.invalid');
      expect(ask(locked, path, `Basic ${KEY}`), path).toBe('auth.missing');
      expect(ask(locked, path, `bearer ${KEY}`), path).toBe('ok');
    }
  });

  it('leaves health, enrolment and the files of the dashboard open', () => {
    for (const path of ['/healthz', '/api/v1/enrol', '/', '/assets/index.js']) expect(ask(locked, path)).toBe('ok');
  });

  it('gives artefacts to devices, and nothing else', () => {
    expect(ask(locked, '/api/v1/artefacts/abc', 'Bearer pi:device-secret')).toBe('ok');
    expect(ask(locked, '/api/v1/artefacts/abc', 'Bearer pi:wrong')).toBe('auth.invalid');
    expect(ask(locked, '/api/v1/devices', 'Bearer pi:device-secret')).toBe('auth.invalid');
    expect(ask(locked, '/api/v1/artefacts/../devices', 'Bearer pi:device-secret')).toBe('auth.invalid');
  });
});
