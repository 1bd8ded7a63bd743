import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { AuditBody, KeyView, NewKeyView, Scope, TenantView } from '@fleetgate/shared/api/access';
import { SCOPES } from '@fleetgate/shared/api/access';
import type { Budgets, ErrorBody, ListBody } from '@fleetgate/shared/api/operations';
import { type Logger, silentLogger } from '@fleetgate/shared/logger';
import OpenAI, { toFile } from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { needOf } from './access/scopes.js';
import { loadConfig } from './config/config.js';
import { type RunningController, startController } from './main.js';

const OWNER = 'a-key-of-enough-length';
let folder: string;
let controller: RunningController | undefined;
let logged: [event: string, fields: unknown][];

async function start(flags: Readonly<Record<string, unknown>> = { apiKey: OWNER }): Promise<void> {
  const outcomesPath = join(folder, 'none.jsonl.gz');
  const config = loadConfig({
    flags: { dataDir: join(folder, 'c'), httpPort: 0, mqttPort: 0, outcomesPath, ...flags },
    environment: {},
  });
  const log: Logger = { ...silentLogger, info: (event, fields) => void logged.push([event, fields]) };
  controller = await startController(config, { log });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-access-'));
  logged = [];
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const send = (method: string, path: string, key: string | undefined, body?: object): Promise<Response> =>
  fetch(`${controller?.httpUrl}${path}`, {
    method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const statusOf = async (...asked: Parameters<typeof send>): Promise<number> => {
  const response = await send(...asked);
  await response.text();
  return response.status;
};
const json = async <T>(...asked: Parameters<typeof send>): Promise<T> => (await (await send(...asked)).json()) as T;
const create = async (scopes: readonly Scope[], more: object = {}): Promise<NewKeyView> =>
  json('POST', '/api/v1/keys', OWNER, { label: scopes.join(' '), scopes, ...more });
/** The join token that it was let in with. */
const enrol = async (name: string): Promise<string> => {
  const token = readFileSync(join(folder, 'c', 'join-token'), 'utf8').trim();
  expect(await statusOf('POST', '/api/v1/enrol', undefined, { token, name, board: 'raspberry-pi-5' })).toBe(201);
  return token;
};
const audit = async (query = ''): Promise<AuditBody> => json('GET', `/api/v1/audit${query}`, OWNER);
const chat = (model = 'math', more: object = {}): object => ({
  model,
  messages: [{ role: 'user', content: 'hi' }],
  ...more,
});

describe('the routes of a controller', () => {
  it('each ask for their scope and for no other', async () => {
    await start();
    const { paths } = await json<{ paths: Record<string, Record<string, unknown>> }>('GET', '/api/openapi.json', OWNER);
    const keys = await Promise.all(SCOPES.map(async (scope) => [scope, (await create([scope])).key] as const));
    const walked: string[] = [];
    for (const [path, operations] of Object.entries(paths)) {
      for (const name of Object.keys(operations)) {
        const method = name.toUpperCase();
        const need = needOf(method, path.replaceAll(/\{(\w+)\}/g, ':$1'));
        const address = path.replaceAll(/\{\w+\}/g, 'x');
        walked.push(`${method} ${path}`);
        expect(need, `${method} ${path}`).toBeDefined();
        if (need === 'open') continue;
        expect(await statusOf(method, address, undefined), `${method} ${path}`).toBe(401);
        expect(await statusOf(method, address, 'sk-foreign'), `${method} ${path}`).toBe(401);
        for (const [scope, key] of keys) {
          if (scope === (need === 'device' ? 'read' : need)) continue;
          expect(await statusOf(method, address, key), `${method} ${path} with ${scope}`).toBe(403);
        }
      }
    }
    expect(walked.length).toBeGreaterThan(50);
    expect(walked).toContain('DELETE /api/v1/keys/{id}');
    const [, infer] = keys[0] ?? ['', ''];
    expect(await statusOf('GET', '/v1/models', infer)).toBe(200);
    expect(await statusOf('GET', '/v1/unknown', infer)).toBe(404);
  });
});

describe('a key', () => {
  it('is told once, kept as a digest, and opens nothing from its revocation on', async () => {
    await start();
    const made = await create(['read'], { tenant: 'acme' });
    const secret = made.key.slice(-43);
    const listed = await (await send('GET', '/api/v1/keys', OWNER)).text();
    expect(listed).not.toContain(secret);
    expect((JSON.parse(listed) as ListBody<KeyView>).items).toEqual([
      expect.objectContaining({ id: made.id, tenant: 'acme', scopes: ['read'], state: 'valid' }),
    ]);
    expect(await statusOf('GET', '/api/v1/devices', made.key)).toBe(200);
    await controller?.stop();
    await start();
    expect(await statusOf('GET', '/api/v1/devices', made.key)).toBe(200);
    expect(await statusOf('DELETE', `/api/v1/keys/${made.id}`, OWNER)).toBe(204);
    expect(await statusOf('GET', '/api/v1/devices', made.key)).toBe(401);
    await controller?.stop();
    for (const file of readdirSync(join(folder, 'c')).filter((name) => name.startsWith('control.sqlite'))) {
      const bytes = readFileSync(join(folder, 'c', file));
      if (file === 'control.sqlite') expect(bytes.includes(made.id)).toBe(true);
      expect(bytes.includes(secret), file).toBe(false);
    }
    expect(JSON.stringify(logged)).not.toContain(secret);
    await start();
    expect(await statusOf('GET', '/api/v1/devices', made.key)).toBe(401);
    const { items } = await json<ListBody<KeyView>>('GET', '/api/v1/keys', OWNER);
    expect(items[0]).toMatchObject({ state: 'revoked', lastUsedAtMs: expect.any(Number) as number });
  });

  it('that is revoked loses the streams that it has open, and no other does', async () => {
    await start();
    const [doomed, spared] = [await create(['read']), await create(['read'])];
    const follow = async (key: string) => {
      const response = await send('GET', '/api/v1/events', key);
      const reader = response.body?.getReader();
      await reader?.read();
      return reader;
    };
    const [ending, staying] = [await follow(doomed.key), await follow(spared.key)];
    expect(await statusOf('DELETE', `/api/v1/keys/${doomed.id}`, OWNER)).toBe(204);
    const drain = async (): Promise<void> => {
      while ((await ending?.read())?.done === false);
    };
    await expect(drain()).rejects.toThrow();
    // Something to tell those who stay.
    await enrol('pi');
    expect((await staying?.read())?.done).toBe(false);
    await staying?.cancel();
    expect(await statusOf('GET', '/api/v1/devices', spared.key)).toBe(200);
  });

  it('may revoke itself, and is answered', async () => {
    await start();
    const made = await create(['admin']);
    expect(await statusOf('DELETE', `/api/v1/keys/${made.id}`, made.key)).toBe(204);
    expect(await statusOf('GET', '/api/v1/keys', made.key)).toBe(401);
  });

  it('is not made of faults', async () => {
    await start();
    const faults: readonly (readonly [body: object, field: string])[] = [
      [{ label: '', scopes: ['infer'] }, 'label'],
      [{ label: 'x', scopes: ['everything'] }, 'scopes'],
      [{ label: 'x', scopes: ['infer'], expiresAtMs: 1 }, 'expiresAtMs'],
      [{}, 'label'],
    ];
    for (const [body, field] of faults) {
      const response = await send('POST', '/api/v1/keys', OWNER, body);
      const told = expect.stringContaining(field) as string;
      expect([response.status, ((await response.json()) as ErrorBody).error.message]).toEqual([400, told]);
    }
    expect(await statusOf('DELETE', '/api/v1/keys/none', OWNER)).toBe(404);
    expect((await audit()).items).toEqual([]);
  });

  it('is checked on loopback without a key of the owner, where other texts are ignored', async () => {
    await start({});
    const made = await json<NewKeyView>('POST', '/api/v1/keys', 'sk-what-a-client-sends', {
      label: 'x',
      scopes: ['infer'],
    });
    expect(await statusOf('GET', '/api/v1/devices', undefined)).toBe(200);
    expect(await statusOf('GET', '/api/v1/devices', 'none')).toBe(200);
    expect(await statusOf('GET', '/v1/models', made.key)).toBe(200);
    expect(await statusOf('GET', '/api/v1/devices', made.key)).toBe(403);
    expect(await statusOf('GET', '/v1/models', `${made.key.slice(0, -1)}!`)).toBe(401);
    expect(await statusOf('DELETE', `/api/v1/keys/${made.id}`, undefined)).toBe(204);
    expect(await statusOf('GET', '/v1/models', made.key)).toBe(401);
    const { items } = await json<AuditBody>('GET', '/api/v1/audit', undefined);
    expect(items.map(({ actor, outcome }) => [actor.kind, outcome])).toEqual([
      ['loopback', 'done'],
      ['loopback', 'done'],
    ]);
  });
});

describe('a tenant', () => {
  it('of any name has its limits set, kept, listed and taken away', async () => {
    await start();
    const names = ['acme', 'a/b', '%2e%2e', '__proto__', '日'.repeat(80), '🦊 & co?', "'; DROP TABLE tenant_limit; --"];
    const pathOf = (name: string): string => `/api/v1/tenants/${encodeURIComponent(name)}`;
    const limits = { requestsPerMinute: 5, outputTokensPerMinute: null };
    for (const name of names) {
      expect(await json('PUT', pathOf(name), OWNER, limits)).toEqual(limits);
      await create(['infer'], { tenant: name });
    }
    await controller?.stop();
    await start();
    const { items } = await json<ListBody<TenantView>>('GET', '/api/v1/tenants', OWNER);
    expect(items).toEqual(names.toSorted().map((name) => ({ name, ...limits, keys: 1 })));
    const none = { requestsPerMinute: null, outputTokensPerMinute: null };
    for (const name of names) {
      expect(await json('PUT', pathOf(name), OWNER, none)).toEqual(none);
      expect((await audit('?limit=1')).items).toMatchObject([{ target: name, before: { requestsPerMinute: 5 } }]);
    }
  });

  it('is not given limits that are none', async () => {
    await start();
    const limits = { requestsPerMinute: 1, outputTokensPerMinute: null };
    const faults: readonly (readonly [name: string, body: object])[] = [
      ['acme', {}],
      ['acme', { ...limits, requestsPerMinute: 0 }],
      ['acme', { ...limits, requestsPerMinute: 1.5 }],
      ['acme', { ...limits, requestsPerMinute: -1 }],
      ['acme', { ...limits, more: 1 }],
      ['a\u0000b', limits],
      ['x'.repeat(81), limits],
    ];
    for (const [name, body] of faults) {
      expect(await statusOf('PUT', `/api/v1/tenants/${encodeURIComponent(name)}`, OWNER, body)).toBe(400);
    }
    expect((await json<ListBody<TenantView>>('GET', '/api/v1/tenants', OWNER)).items).toEqual([]);
  });

  it('is held to its limits by whatever key it asks, and no other is', async () => {
    await start();
    const limits = { requestsPerMinute: 2, outputTokensPerMinute: null };
    await json('PUT', '/api/v1/tenants/acme', OWNER, limits);
    const [one, two, other] = [
      await create(['infer'], { tenant: 'acme' }),
      await create(['infer'], { tenant: 'acme' }),
      await create(['infer'], { tenant: 'other' }),
    ];
    const ask = async (key: string, user?: string) => {
      const response = await send('POST', '/v1/chat/completions', key, chat('math', { user }));
      await response.text();
      return [response.status, response.headers.get('x-ratelimit-remaining-requests')];
    };
    // There is no device that could answer; that is told with what is left, too.
    expect([await ask(one.key), await ask(two.key, 'other')]).toEqual([
      [503, '1'],
      [503, '0'],
    ]);
    expect(await ask(one.key)).toEqual([429, '0']);
    expect(await ask(OWNER, 'acme')).toEqual([429, '0']);
    expect(await ask(other.key, 'acme')).toEqual([503, null]);
  });

  it("sees its own files and batches, and nobody else's", async () => {
    await start();
    const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${controller?.httpUrl}/v1`, apiKey, maxRetries: 0 });
    const [one, two] = await Promise.all(
      ['one', 'two'].map(async (tenant) => clientOf((await create(['infer'], { tenant })).key)),
    );
    const nobody = clientOf((await create(['infer'])).key);
    if (one === undefined || two === undefined) throw new Error('no clients');
    const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: chat() };
    const file = await one.files.create({
      purpose: 'batch',
      file: await toFile(Buffer.from(JSON.stringify(line)), 'a'),
    });
    const batchOf = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' } as const;
    const refused = async (promise: PromiseLike<unknown>): Promise<unknown> =>
      promise.then(
        () => 'done',
        (error: unknown) => (error instanceof OpenAI.APIError ? (error.status as number) : error),
      );
    for (const stranger of [two, nobody]) {
      expect((await stranger.files.list()).data).toEqual([]);
      expect(await refused(stranger.files.retrieve(file.id))).toBe(404);
      expect(await refused(stranger.files.content(file.id))).toBe(404);
      expect(await refused(stranger.files.delete(file.id))).toBe(404);
      expect(await refused(stranger.batches.create(batchOf))).toBe(404);
    }
    const batch = await one.batches.create(batchOf);
    for (const stranger of [two, nobody]) {
      expect((await stranger.batches.list()).data).toEqual([]);
      expect(await refused(stranger.batches.retrieve(batch.id))).toBe(404);
      expect(await refused(stranger.batches.cancel(batch.id))).toBe(404);
    }
    for (const owner of [one, clientOf(OWNER)]) {
      expect((await owner.batches.list()).data.map(({ id }) => id)).toEqual([batch.id]);
      expect((await owner.files.list()).data.map(({ id }) => id)).toEqual([file.id]);
    }
  });
});

describe('the audit log', () => {
  it('has who changed what, and what was refused, and no secret', async () => {
    await start();
    const operator = await create(['operate']);
    const budgets = await json<Budgets>('GET', '/api/v1/budgets', OWNER);
    await send('PUT', '/api/v1/budgets', operator.key, { ...budgets, fleetPowerW: 42 });
    await send('PUT', '/api/v1/budgets', operator.key, { ...budgets, fleetPowerW: -1 });
    await send('POST', '/api/v1/keys', operator.key, { label: 'more', scopes: ['admin'] });
    await send('POST', '/api/v1/keys', 'fg_nobody', { label: 'more', scopes: ['admin'] });
    const token = await enrol('pi');
    const { items, next } = await audit();
    const actor = { kind: 'key', id: operator.id, label: 'operate' };
    expect(next).toBeNull();
    expect(items).toMatchObject([
      { actor: { kind: 'anyone' }, action: 'POST /api/v1/enrol', target: 'pi', outcome: 'done' },
      { actor, action: 'POST /api/v1/keys', outcome: 'refused', status: 403 },
      {
        ...{ actor, action: 'PUT /api/v1/budgets', outcome: 'done', address: '127.0.0.1' },
        before: { fleetPowerW: null },
        after: { fleetPowerW: 42 },
      },
      { actor: { kind: 'owner-key' }, action: 'POST /api/v1/keys', target: operator.id },
    ]);
    expect(items).toHaveLength(4);
    const all = JSON.stringify([items, logged]);
    for (const secret of [token, operator.key.slice(-43), OWNER]) expect(all).not.toContain(secret);
    expect(logged.map(([event]) => event).filter((event) => event.startsWith('audit.'))).toEqual([
      ...['audit.done', 'audit.done', 'audit.refused', 'audit.done'],
    ]);
    const page = await audit('?limit=1');
    expect((await audit(`?limit=1&before=${page.next}`)).items[0]?.action).toBe('POST /api/v1/keys');
    for (const query of ['?limit=0', '?before=x', '?limit=1e9']) {
      expect(await statusOf('GET', `/api/v1/audit${query}`, OWNER)).toBe(400);
    }
  });
});
