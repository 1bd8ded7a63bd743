import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { AuditBody, KeyView, NewKeyView, TenantView } from '@fleetgate/shared/api/access';
import type { ErrorBody, ListBody } from '@fleetgate/shared/api/operations';
import { silentLogger } from '@fleetgate/shared/logger';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { loadConfig } from '../config/config.js';
import { type RunningController, startController } from '../main.js';
import { runCli } from './main.js';

let folder: string;
let controller: RunningController;
let shown: { out: string; err: string };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-cli-'));
  const outcomesPath = join(folder, 'none.jsonl.gz');
  const flags = { dataDir: join(folder, 'c'), httpPort: 0, mqttPort: 0, outcomesPath };
  controller = await startController(loadConfig({ flags, environment: {} }), { log: silentLogger });
});
afterAll(async () => {
  await controller.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  shown = { out: '', err: '' };
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((shown.out += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((shown.err += String(text)), true));
});
afterEach(() => vi.restoreAllMocks());

async function run(
  ...words: string[]
): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  shown = { out: '', err: '' };
  const status = await runCli([...words, '--url', controller.httpUrl]);
  return { status, ...shown };
}
async function json<T>(...words: string[]): Promise<T> {
  return JSON.parse((await run(...words, '--json')).out) as T;
}

describe('keys on the command line', () => {
  it('are made, shown once, listed, used and revoked', async () => {
    const made = await run(
      'keys',
      'create',
      'night shift',
      '--scopes',
      'infer, read',
      '--tenant',
      'acme',
      '--expires',
      '30d',
    );
    expect([made.status, made.out]).toEqual([0, expect.stringMatching(/^fg_[a-z0-9]{12}_[\w-]{43}\n$/)]);
    expect(made.err).toMatch(/may infer, read and expires on \d{4}-\d\d-\d\d/);
    const key = made.out.trim();
    const { items } = await json<ListBody<KeyView>>('keys', 'list');
    const row = items.find(({ label }) => label === 'night shift');
    expect(row).toMatchObject({ tenant: 'acme', scopes: ['infer', 'read'], state: 'valid' });
    const table = await run('keys');
    expect(table.out).toContain('night shift');
    expect(table.out).not.toContain(key.slice(-43));
    expect((await run('devices', '--key', key)).status).toBe(0);
    const refused = await run('keys', 'list', '--key', key);
    expect([refused.status, refused.err]).toEqual([
      2,
      expect.stringContaining('this needs a key with the scope admin'),
    ]);
    expect(await json('keys', 'revoke', row?.id ?? '')).toEqual({ revoked: row?.id });
    expect((await run('devices', '--key', key)).err).toContain('this API key is revoked');
  });

  it.each([
    [['x'], /required option '--scopes/],
    [['x', '--scopes', 'root'], /expected some of infer, read, operate, admin/],
    [['x', '--scopes', ''], /expected some of/],
    [['', '--scopes', 'infer'], /label: expected some text/],
    [['x', '--scopes', 'infer', '--expires', 'soon'], /a time from now such as 12h/],
    [['x', '--scopes', 'infer', '--expires', '2001-01-01'], /expected an instant to come/],
  ])('are not made of %j', async (words, told) => {
    const { status, err } = await run('keys', 'create', ...words);
    expect([status, err]).toEqual([2, expect.stringMatching(told)]);
    expect(err).not.toContain('    at ');
  });

  it('that are not there cannot be revoked', async () => {
    expect((await json<ErrorBody>('keys', 'revoke', 'none')).error.code).toBe('key.unknown');
    expect(shown.err).toBe('');
  });
});

describe('tenants on the command line', () => {
  it('have limits set one by one, and taken away', async () => {
    expect(await json('tenants', 'limit', 'a/b', '--requests', '60')).toMatchObject({ requestsPerMinute: 60 });
    expect(await json('tenants', 'limit', 'a/b', '--tokens', '5000')).toEqual({
      name: 'a/b',
      requestsPerMinute: 60,
      outputTokensPerMinute: 5000,
    });
    expect((await run('tenants')).out).toMatch(/a\/b +60\/min +5000\/min +0/);
    await run('tenants', 'limit', 'a/b', '--requests', 'none', '--tokens', 'none');
    const { items } = await json<ListBody<TenantView>>('tenants', 'list');
    expect(items.map(({ name }) => name)).not.toContain('a/b');
  });

  it.each([
    [[], /nothing to set/],
    [['--requests', '0'], /expected a whole number from 1/],
    [['--requests', '1e3'], /expected a whole number/],
    [['--tokens', '-5'], /expected a whole number|argument missing/],
  ])('are not given %j', async (words, told) => {
    const { status, err } = await run('tenants', 'limit', 'acme', ...words);
    expect([status, err]).toEqual([2, expect.stringMatching(told)]);
  });
});

describe('the audit log on the command line', () => {
  it('lists what was changed, page by page', async () => {
    const { id } = await json<NewKeyView>('keys', 'create', 'audited', '--scopes', 'read');
    await run('keys', 'revoke', id);
    const [revoked, made] = (await json<AuditBody>('audit')).items;
    expect([revoked?.action, made?.action]).toEqual(['DELETE /api/v1/keys/:id', 'POST /api/v1/keys']);
    const page = await run('audit', '--limit', '1');
    expect(page.out).toMatch(new RegExp(`loopback +127.0.0.1 +DELETE /api/v1/keys/:id +${id} +done`));
    expect(page.err).toBe(`older ones: --before ${revoked?.id}\n`);
    expect((await run('audit', '--limit', '1', '--before', String(revoked?.id))).out).toContain('"label":"audited"');
    expect((await run('audit', '--before', 'x')).status).toBe(2);
  });
});
