import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { AuditEntry } from './audit-entry.js';
import { note } from './caller.js';
import { guardAccess } from './http-access.js';
import { auditChanges } from './http-audit.js';

let server: FastifyInstance;
let kept: AuditEntry[];
let errors: string[];
let add: (entry: AuditEntry) => Promise<boolean>;

beforeEach(() => {
  server = fastify();
  kept = [];
  errors = [];
  add = async (entry) => kept.push(entry) > 0;
  const open = { ownerDigest: undefined, hosts: undefined, isDevice: () => false };
  guardAccess(server, { ...open, findKey: () => ({ state: 'unknown', key: undefined }) });
  auditChanges(server, {
    audit: { add: (entry) => add(entry) },
    clock: new ManualClock(),
    log: { ...silentLogger, error: (event) => void errors.push(event) },
  });
});
afterEach(() => server.close());

describe('a guarded server', () => {
  it.each(['/api/v1/new-thing', '/new', '/api/v2/plans'])('takes no route that nobody gave a scope: %s', (path) => {
    expect(() => server.get(path, async () => 'ok')).toThrow(`GET ${path} has no scope`);
  });

  it('takes no other method of a route that is only read', () => {
    server.get('/api/v1/audit', async () => 'ok');
    expect(() => server.delete('/api/v1/audit', async () => 'ok')).toThrow('DELETE /api/v1/audit has no scope');
  });

  it('keeps a change before its answer leaves', async () => {
    const told: (() => void)[] = [];
    const asked = new Promise<void>((resolve) => {
      add = (entry) => {
        kept.push(entry);
        resolve();
        return new Promise((written) => told.push(() => written(true)));
      };
    });
    server.put('/api/v1/budgets', async (request) => {
      note(request, { before: { a: 1 }, after: { a: 2 } });
      return { a: 2 };
    });
    let answered = false;
    const answer = server.inject({ method: 'PUT', url: '/api/v1/budgets' }).then((response) => {
      answered = true;
      return response;
    });
    await asked;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    told[0]?.();
    expect((await answer).json()).toEqual({ a: 2 });
    expect(kept).toMatchObject([{ action: 'PUT /api/v1/budgets', before: { a: 1 }, after: { a: 2 } }]);
  });

  it('answers what was changed also where the log cannot keep it, and says so to its owner', async () => {
    add = () => Promise.reject(new Error('disk full'));
    server.post('/api/v1/plans/rollback', async () => ({ id: 'plan-1' }));
    const response = await server.inject({ method: 'POST', url: '/api/v1/plans/rollback' });
    expect([response.statusCode, response.json(), errors]).toEqual([200, { id: 'plan-1' }, ['audit.not-kept']]);
  });
});
