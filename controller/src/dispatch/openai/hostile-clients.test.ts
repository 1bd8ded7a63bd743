import { afterEach, describe, expect, it } from 'vitest';

import { RawClient, requestText } from '../../platform/hostile-client.fixture.js';
import { OPEN_DOOR, openTestApi, type TestApi } from './test-api.fixture.js';
import type { ScriptedJob } from '../scripted-expert-link.js';

const CHAT = '/v1/chat/completions';
const JSON_TYPE = 'Content-Type: application/json';
const CLOSE = 'Connection: close';
const QUICK = { headMs: 200, requestMs: 400, checkMs: 20 };
const PIECE = 'x'.repeat(64 * 1024);
/** More than what the kernel takes for a client that does not read. */
const PIECES = 400;

let api: TestApi;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await api.close();
});

function answer(job: ScriptedJob): void {
  job.accepted();
  job.tokens('four');
  job.done();
}

const silent = (job: ScriptedJob): void => job.accepted();

async function client(): Promise<RawClient> {
  const opened = await RawClient.open(api.port);
  clients.push(opened);
  return opened;
}

const chat = (more: object = {}): string =>
  JSON.stringify({ model: 'math', messages: [{ role: 'user', content: 'two and two?' }], ...more });

async function send(...parts: readonly (string | Buffer)[]): Promise<string> {
  const raw = (await client()).read();
  for (const part of parts) raw.write(part);
  return raw.end();
}

const post = (body: string | Buffer, type = JSON_TYPE): Buffer => requestText('POST', CHAT, [type, CLOSE], body);
const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
const bodyOf = (text: string): unknown => JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4));
const isServed = async (): Promise<void> => expect(statusOf(await send(post(chat())))).toBe(200);

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('what is no request that can be answered', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  const chunked = requestText('POST', CHAT, [JSON_TYPE, CLOSE, 'Transfer-Encoding: chunked']);
  const cases: readonly (readonly [name: string, status: number, parts: readonly (string | Buffer)[]])[] = [
    ['another protocol', 400, ['\x16\x03\x01\x02\x00\x01\x00\r\n\r\n']],
    ['a made up method', 400, ['BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n']],
    ['two lengths', 400, [`POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`]],
    ['a length below 0', 400, [`POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello`]],
    ['a length and chunks', 400, [chunked.toString().replace('Host', 'Content-Length: 5\r\nHost'), '0\r\n\r\n']],
    ['a broken chunk', 400, [chunked, 'zz\r\n']],
    ['headers without end', 431, [requestText('GET', '/v1/models', [`X-Long: ${'a'.repeat(20_000)}`, CLOSE])]],
    ['a name without end', 414, [requestText('GET', `/v1/models/${'a'.repeat(500)}`, [CLOSE])]],
    ['a broken escape', 400, [requestText('GET', '/v1/models/%zz', [CLOSE])]],
    ['an unknown path', 404, [requestText('GET', '/v1/nothing', [CLOSE])]],
    ['another method', 405, [requestText('GET', CHAT, [CLOSE])]],
    ['a body that is too large', 413, [post(`{"a":"${'a'.repeat(1_100_000)}"}`)]],
    ['a body said to be huge', 413, [requestText('POST', CHAT, [JSON_TYPE, 'Content-Length: 99999999999'])]],
    ['chunks that are too many', 413, [chunked, ...Array.from({ length: 20 }, () => `10000\r\n${PIECE}\r\n`)]],
    ['a form', 415, [post('model=math&prompt=x', 'Content-Type: application/x-www-form-urlencoded')]],
    ['plain text', 415, [post(chat(), 'Content-Type: text/plain')]],
    ['no type', 415, [post(chat(), 'X-None: 1')]],
    ['a body that is not UTF-8', 400, [post(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))]],
    ['NaN', 400, [post(chat().replace('}', '').replace('{', '{"temperature":NaN,'))]],
    ['a number beyond all', 400, [post(chat().replace('{', '{"temperature":1e999,'))]],
    ['an integer beyond all', 400, [post(chat().replace('{', `{"max_tokens":${'9'.repeat(400)},`))]],
    ['arrays without bottom', 400, [post(deep)]],
    ['messages without bottom', 400, [post(chat({ messages: 0 }).replace('"messages":0', `"messages":${deep}`))]],
    ['half a document', 400, [post(chat().slice(0, -1))]],
    ['nothing', 400, [post('')]],
  ];

  it.each(cases)('%s is answered %i in the one envelope', async (_name, status, parts) => {
    api = await openTestApi(answer, OPEN_DOOR);
    const text = await send(...parts);
    expect(statusOf(text), text.slice(0, 300)).toBe(status);
    expect(bodyOf(text)).toMatchObject({
      error: { type: 'invalid_request_error', message: expect.any(String) as string },
    });
    if (status === 405) expect(text).toMatch(/^allow: POST\r$/m);
    await isServed();
  });

  it('may have what is ignored: fields without bottom, prototypes, and keys twice, of which the last counts', async () => {
    api = await openTestApi(answer, OPEN_DOOR);
    for (const more of [
      `"x":${deep}`,
      '"__proto__":{"model":"none"}',
      '"constructor":{"prototype":{"stream":true}}',
      '"model":"none"',
    ]) {
      const text = await send(post(chat().replace('{', `{${more},`)));
      expect(statusOf(text), text.slice(0, 300)).toBe(200);
    }
    expect(({} as { readonly stream?: unknown }).stream).toBeUndefined();
  });
});

describe('a client that takes its time', () => {
  it('with its headers is told 408 and closed, while others are served', async () => {
    api = await openTestApi(answer, { ...OPEN_DOOR, limits: QUICK });
    const slow = (await client()).read().write('POST /v1/chat/comp');
    const idle = (await client()).read();
    await isServed();
    expect(statusOf(await slow.end())).toBe(408);
    await idle.end();
  });

  it('with its body is told 408 and closed, however busily it trickles', async () => {
    api = await openTestApi(answer, { ...OPEN_DOOR, limits: QUICK });
    const slow = (await client()).read().write(requestText('POST', CHAT, [JSON_TYPE, 'Content-Length: 100000']));
    const trickle = setInterval(() => slow.write(' '), 10);
    await isServed();
    const text = await slow.end();
    clearInterval(trickle);
    expect(statusOf(text)).toBe(408);
    expect(bodyOf(text)).toMatchObject({ error: { code: 'request_timeout' } });
  });

  it('with its body makes room for others when bodies take too much', async () => {
    api = await openTestApi(answer, { ...OPEN_DOOR, limits: { bodyBytes: 1_000_000 } });
    const slow = (await client()).read().write(requestText('POST', CHAT, [JSON_TYPE, 'Content-Length: 999990']));
    slow.write('{');
    await isServed();
    const text = await slow.end();
    expect(statusOf(text)).toBe(503);
    expect(bodyOf(text)).toMatchObject({ error: { code: 'no_capacity' } });
    await isServed();
  });

  it('between requests is closed', async () => {
    api = await openTestApi(answer, { ...OPEN_DOOR, limits: { keepAliveMs: 100 } });
    const idle = (await client()).read().write(requestText('GET', '/v1/models'));
    expect(statusOf(await idle.end())).toBe(200);
  });
});

describe('a client that does not read', () => {
  it('its stream has its job cancelled, and keeps no more than the answer', async () => {
    api = await openTestApi(silent, OPEN_DOOR);
    const deaf = (await client()).write(requestText('POST', CHAT, [JSON_TYPE], chat({ stream: true })));
    await until(() => api.link.jobs.length === 1);
    for (let i = 0; i < PIECES; i++) api.link.jobs[0]?.tokens(PIECE);
    await until(() => api.link.cancelled.length === 1);
    expect(api.dispatcher.inFlight).toBe(0);
    deaf.read();
    await deaf.end();
    const [record] = await api.ledger.list({ limit: 1 });
    expect(record).toMatchObject({ state: 'cancelled', error: { code: 'job.cancelled' } });
  });

  it('an answer that is whole is closed', async () => {
    api = await openTestApi(
      (job) => {
        job.accepted();
        for (let i = 0; i < PIECES; i++) job.tokens(PIECE);
        job.done();
      },
      { ...OPEN_DOOR, limits: { readMs: 300 } },
    );
    const deaf = (await client()).write(post(chat()));
    await until(() => api.dispatcher.stats.succeeded === 1);
    await until(async () => (await api.connections()) === 0);
    deaf.read();
    const text = await deaf.end();
    expect(text.length).toBeLessThan(PIECES * PIECE.length);
  });

  it('any of thousands of answers is closed before all are made', async () => {
    api = await openTestApi(answer, { ...OPEN_DOOR, limits: { readMs: 300 } });
    const deaf = await client();
    for (let i = 0; i < 5000; i++) deaf.write(requestText('GET', '/v1/models'));
    await isServed();
    await until(async () => (await api.connections()) === 0);
    deaf.read();
    expect((await deaf.end()).match(/HTTP\/1\.1 200/g)?.length).toBeLessThan(5000);
  });
});

describe('many connections', () => {
  it('a thousand of them that are idle keep nobody from being served', async () => {
    api = await openTestApi(answer, OPEN_DOOR);
    const idle = await Promise.all(Array.from({ length: 1000 }, client));
    for (const [i, one] of idle.entries()) if (i % 2 === 0) one.read().write(requestText('GET', '/v1/models'));
    await until(() => idle.every((one, i) => i % 2 === 1 || one.text.includes('"object":"list"')));
    await isServed();
    expect(idle.filter(({ isClosed }) => isClosed)).toEqual([]);
  });

  it('more than there is room for take the place of the one that has waited longest, never of one at work', async () => {
    api = await openTestApi(silent, { ...OPEN_DOOR, mostConnections: 3 });
    const working = (await client()).read().write(requestText('POST', CHAT, [JSON_TYPE], chat({ stream: true })));
    await until(() => api.link.jobs.length === 1);
    const first = (await client()).read();
    const second = (await client()).read().write('POST /v1/ch');
    const third = (await client()).read();
    await first.end();
    expect([working.isClosed, second.isClosed, third.isClosed]).toEqual([false, false, false]);
    const [job] = api.link.jobs;
    job?.tokens('four');
    job?.done();
    await until(() => working.text.includes('[DONE]'));
  });

  it('requests one behind the other on one are answered in order', async () => {
    api = await openTestApi(answer, OPEN_DOOR);
    const text = await send(
      requestText('GET', '/v1/models/math'),
      requestText('POST', CHAT, [JSON_TYPE], chat()),
      requestText('GET', '/v1/nothing', [CLOSE]),
    );
    expect(text.match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404']);
  });
});
