import type { Scope } from '@fleetgate/shared/api/access';
import { ManualClock } from '@fleetgate/shared/clock';
import { systemRandom } from '@fleetgate/shared/random';
import { beforeEach, describe, expect, it } from 'vitest';

import { digestOf } from './access-key.js';
import { type AccessPolicy, judge } from './admission.js';
import { KeyRing } from './key-ring.js';
import { MemoryKeyStore } from './key-store.fixture.js';

const KEY = 'the-key-of-this-fleet';
let clock: ManualClock;
let ring: KeyRing;
let locked: AccessPolicy;
let local: AccessPolicy;

beforeEach(() => {
  clock = new ManualClock();
  const none = { keys: [], uses: new Map() };
  ring = new KeyRing({ store: new MemoryKeyStore(), clock, random: systemRandom }, none);
  locked = {
    ownerDigest: digestOf(KEY),
    hosts: undefined,
    isDevice: (id, secret) => id === 'pi' && secret === 'device-secret',
    findKey: (text, digest) => ring.find(text, digest),
  };
  local = { ...locked, ownerDigest: undefined, hosts: new Set(['127.0.0.1', 'localhost', '::1']) };
});

const judged = (policy: AccessPolicy, path: string, authorization?: string, host = '127.0.0.1:8080') => {
  const [method = '', route] = path.includes(' ') ? path.split(' ') : ['GET', path];
  return judge({ method, route, authorization, host }, policy);
};
const ask = (...asked: Parameters<typeof judged>): string => judged(...asked).error?.code ?? 'ok';
const keyOf = async (scopes: readonly Scope[], more: object = {}): Promise<string> =>
  `Bearer ${(await ring.add({ label: 'test', scopes, ...more })).key}`;

describe('access', () => {
  it('lets everything through on loopback without a key', () => {
    for (const path of ['/v1/models', '/api/v1/devices', '/', 'DELETE /api/v1/keys/:id']) {
      expect(ask(local, path)).toBe('ok');
      expect(ask(local, path, 'Bearer sk-whatever-a-client-sends')).toBe('ok');
    }
    expect(judged(local, '/v1/models').caller).toMatchObject({ actor: { kind: 'loopback' }, tenant: undefined });
  });

  it.each(['evil.example', 'evil.example:8080', '', '10.0.0.1'])('refuses the rebound name %j', (host) => {
    expect(ask(local, '/api/v1/devices', undefined, host)).toBe('auth.forbidden');
  });

  it.each(['localhost:1', '[::1]:8080', '127.0.0.1'])('answers to %j', (host) => {
    expect(ask(local, '/v1/models', undefined, host)).toBe('ok');
  });

  it('asks for a key on every path that shows or changes state, known or not', () => {
    const paths = [
      '/v1/chat/completions',
      '/api/v1/devices',
      '/api/openapi.json',
      '/metrics',
      '/readyz',
      '/v1',
      '/new',
    ];
    for (const path of [...paths, 'POST /', 'POST /healthz']) {
      expect(ask(locked, path), path).toBe('auth.missing');
      expect(ask(locked, path, 'Bearer nonsense'), path).toBe('auth.invalid');
      expect(ask(locked, path, `Basic ${KEY}`), path).toBe('auth.missing');
      expect(ask(locked, path, `bearer ${KEY}`), path).toBe('ok');
    }
    const unknown = { method: 'GET', route: undefined, authorization: undefined, host: 'x' };
    expect(judge(unknown, locked).error?.code).toBe('auth.missing');
  });

  it('leaves health, enrolment and the files of the dashboard open', () => {
    for (const path of ['/healthz', 'POST /api/v1/enrol', '/', '/*']) expect(ask(locked, path)).toBe('ok');
  });

  it('gives artefacts to devices, and nothing else', () => {
    expect(ask(locked, '/api/v1/artefacts/:sha256', 'Bearer pi:device-secret')).toBe('ok');
    expect(ask(locked, '/api/v1/artefacts/:sha256', 'Bearer pi:wrong')).toBe('auth.invalid');
    expect(ask(locked, '/api/v1/devices', 'Bearer pi:device-secret')).toBe('auth.invalid');
  });

  it('holds a key to its scopes, with and without a key of the owner', async () => {
    const paths: readonly (readonly [Scope, string])[] = [
      ['infer', 'POST /v1/chat/completions'],
      ['infer', 'POST /api/v1/score'],
      ['read', '/api/v1/devices'],
      ['operate', 'PUT /api/v1/budgets'],
      ['admin', 'POST /api/v1/keys'],
      ['admin', '/api/v1/audit'],
      ['admin', 'PUT /api/v1/tenants/:name'],
      ['admin', '/nobody/has/thought/of/this'],
    ];
    for (const policy of [locked, local]) {
      for (const scope of ['infer', 'read', 'operate', 'admin'] as const) {
        const key = await keyOf([scope]);
        for (const [needed, path] of paths) {
          expect(ask(policy, path, key), `${scope} for ${path}`).toBe(needed === scope ? 'ok' : 'auth.forbidden');
        }
      }
    }
  });

  it('names the tenant and the key of who asks, refused or not', async () => {
    const key = await keyOf(['infer'], { tenant: 'acme' });
    const caller = { actor: { kind: 'key', label: 'test' }, tenant: 'acme', seesAll: false };
    expect(judged(locked, '/v1/models', key).caller).toMatchObject(caller);
    expect(judged(locked, 'DELETE /api/v1/devices/:id', key).caller).toMatchObject(caller);
    expect(judged(locked, '/v1/models', `Bearer ${KEY}`).caller?.actor).toEqual({ kind: 'owner-key' });
  });

  it('refuses keys of ours that are unknown, revoked or expired, also on loopback', async () => {
    const revoked = await keyOf(['infer']);
    const expiring = await keyOf(['infer'], { expiresAtMs: clock.now() + 1000 });
    await ring.revoke(revoked.slice('Bearer fg_'.length).slice(0, 12));
    clock.advance(999);
    expect(ask(local, '/v1/models', expiring)).toBe('ok');
    clock.advance(1);
    for (const policy of [locked, local]) {
      for (const [token, word] of [
        [revoked, 'revoked'],
        [expiring, 'expired'],
        [`${revoked.slice(0, -1)}${revoked.endsWith('A') ? 'B' : 'A'}`, 'wrong'],
        ['Bearer fg_nonsense', 'wrong'],
        ['Bearer fg_', 'wrong'],
      ] as const) {
        const { error } = judged(policy, '/v1/models', token);
        expect([error?.code, error?.message]).toEqual(['auth.invalid', expect.stringContaining(word)]);
      }
    }
  });

  it('takes the key of the owner for what it is, also where it looks like one that was given out', () => {
    const odd = { ...locked, ownerDigest: digestOf('fg_aaaaaaaaaaaa_owner') };
    expect(judged(odd, '/v1/models', 'Bearer fg_aaaaaaaaaaaa_owner').caller?.actor.kind).toBe('owner-key');
  });
});
