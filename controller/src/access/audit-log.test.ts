import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { type AnsweredRequest, type AuditEntry, auditEntry } from './audit-entry.js';
import { accessSchema } from './sqlite-access-store.js';
import { type AuditSettings, SqliteAuditLog } from './sqlite-audit-log.js';

const at = unixMs(1_764_000_000_000);
const caller = {
  actor: { kind: 'key', id: 'k1', label: 'ci' },
  tenant: undefined,
  seesAll: false,
  rates: undefined,
} as const;
const put: AnsweredRequest = {
  method: 'PUT',
  route: '/api/v1/budgets',
  params: {},
  body: {},
  address: '10.0.0.1',
  status: 200,
  caller,
  noted: null,
};
const entry = (changes: Partial<AnsweredRequest> = {}, time = at): AuditEntry => {
  const made = auditEntry({ ...put, ...changes }, time);
  if (made === undefined) throw new Error('no entry');
  return made;
};

describe('what is kept of a request', () => {
  it('is who did what to what', () => {
    const removed = { method: 'DELETE', route: '/api/v1/devices/:id', params: { id: 'pi' }, status: 204 };
    expect(entry(removed)).toEqual({
      atMs: at,
      actor: { kind: 'key', id: 'k1', label: 'ci' },
      address: '10.0.0.1',
      action: 'DELETE /api/v1/devices/:id',
      target: 'pi',
      outcome: 'done',
      status: 204,
    });
    expect(entry({ method: 'POST', route: '/api/v1/enrol', body: { token: 'secret', name: 'pi' } })).toMatchObject({
      target: 'pi',
    });
    expect(entry({ noted: { target: 'other' }, params: { id: 'pi' } }).target).toBe('other');
    expect(entry({ params: { id: 'x'.repeat(500) } }).target).toHaveLength(200);
  });

  it('is nothing of what changes nothing: reading, asking, faults of the caller, strangers', () => {
    const none: readonly Partial<AnsweredRequest>[] = [
      { method: 'GET' },
      { route: '/v1/chat/completions' },
      { route: '/api/v1/score' },
      { route: undefined },
      { status: 400 },
      { status: 401 },
      { status: 404 },
      { status: 409 },
      { status: 403, caller: null },
    ];
    for (const changes of none) expect(auditEntry({ ...put, ...changes }, at)).toBeUndefined();
    expect(entry({ status: 403 }).outcome).toBe('refused');
    expect(entry({ status: 503 }).outcome).toBe('failed');
  });

  it('has of two objects what differs, and no more than there is room for', () => {
    const before = { power: 5, usage: [1], same: { a: 1 } };
    const after = { power: 6, usage: [1], same: { a: 1 }, more: true };
    expect(entry({ noted: { before, after } })).toMatchObject({
      before: { power: 5, more: null },
      after: { power: 6, more: true },
    });
    expect(entry({ noted: { after: { id: 1 } } })).not.toHaveProperty('before');
    const large = entry({ noted: { before: { text: 'x'.repeat(20_000) }, after: {} } });
    expect(JSON.stringify(large).length).toBeLessThan(1000);
    expect(large.after).toEqual({ leftOut: expect.any(String) as string });
  });
});

describe('the audit log', () => {
  let folder: string;
  let database: Database;
  const open = (settings: Partial<AuditSettings> = {}): SqliteAuditLog =>
    new SqliteAuditLog(database, { keptMs: 1000, mostRows: 5, pruneEvery: 1, refusalMs: 60, ...settings });

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-audit-'));
    database = await openDatabase(join(folder, 'control.sqlite'), [accessSchema]);
  });
  afterEach(async () => {
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('lists the newest first, page by page', async () => {
    const log = open({ mostRows: 100 });
    for (let n = 0; n < 7; n++) await log.add(entry({ noted: { target: `t${n}` } }));
    const pages: (string | null)[][] = [];
    for (let before: number | undefined; ;) {
      const { items, next } = await log.list(3, before);
      pages.push(items.map(({ target }) => target));
      if (next === null) break;
      before = next;
    }
    expect(pages).toEqual([['t6', 't5', 't4'], ['t3', 't2', 't1'], ['t0']]);
    const { items } = await log.list(1);
    expect(items[0]).toEqual({ id: 7, ...entry({ noted: { target: 't6' } }) });
  });

  it('is bounded by age and by number, and never uses a number again', async () => {
    const log = open();
    for (let n = 0; n < 20; n++) await log.add(entry());
    expect((await log.list(100)).items.length).toBeLessThanOrEqual(6);
    await log.add(entry({}, unixMs(at + 2000)));
    await log.add(entry({}, unixMs(at + 2000)));
    const { items } = await log.list(100);
    expect(items.map(({ id }) => id)).toEqual([22, 21]);
  });

  it('keeps a refusal that comes again and again once, and none at the cost of a change', async () => {
    const log = open();
    await log.add(entry());
    for (let n = 0; n < 50; n++) await log.add(entry({ status: 403 }, unixMs(at + n)));
    expect((await log.list(100)).items.map(({ outcome }) => outcome)).toEqual(['refused', 'done']);
    const other = (n: number) => entry({ status: 403, route: `/api/v1/devices/${n}` }, at);
    for (let n = 0; n < 30; n++) await log.add(other(n));
    const outcomes = (await log.list(100)).items.map(({ outcome }) => outcome);
    expect(outcomes.filter((one) => one === 'done')).toHaveLength(1);
    expect(outcomes.length).toBeLessThanOrEqual(1 + 6);
  });
});
