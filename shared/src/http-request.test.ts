import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openHttp, readText, reasonOf } from '@fleetgate/shared/http-request';

describe('openHttp', () => {
  let server: Server;
  let url: URL;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const never = new AbortController().signal;

  beforeEach(async () => {
    server = createServer((request, response) => answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/path?a=b`);
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('gets, and posts a body with its headers', async () => {
    answer = async (request, response) => {
      const said = await readText(request);
      response.end(`${request.method} ${request.url} ${String(request.headers['x-a'])} ${said}`);
    };
    const text = async (request: Parameters<typeof openHttp>[2]) => readText(await openHttp(url, never, request));
    expect(await text({})).toBe('GET /path?a=b undefined ');
    expect(await text({ headers: { 'x-a': '1' }, body: 'größer' })).toBe('POST /path?a=b 1 größer');
  });

  it('gives a redirect as it is', async () => {
    answer = (_, response) => response.writeHead(302, { location: '/elsewhere' }).end();
    const response = await openHttp(url, never, {});
    expect(response.statusCode).toBe(302);
    response.destroy();
  });

  it('rejects when a body is cut off', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half', () => response.destroy());
    };
    await expect(openHttp(url, never, {}).then(readText)).rejects.toThrow();
  });

  it('ends where it is aborted: before the answer, and in the middle of it', async () => {
    const abort = new AbortController();
    answer = (_, response) => {
      response.write('begun');
    };
    const response = await openHttp(url, abort.signal, {});
    const text = readText(response);
    abort.abort();
    await expect(text).rejects.toThrow();
    await expect(openHttp(url, abort.signal, {})).rejects.toThrow();
  });

  it('says why nobody can be reached', async () => {
    const reason = (to: string) => openHttp(new URL(to), never, {}).then(() => 'reached', reasonOf);
    expect(await reason('http://127.0.0.1:9/')).toMatch(/ECONNREFUSED/);
    expect(await reason('http://localhost:9/')).toMatch(/ECONNREFUSED/);
    expect(await reason('https://127.0.0.1:9/')).toMatch(/ECONNREFUSED/);
    const late = new Error('outer', { cause: new Error('due to timeout') });
    expect(reasonOf(late)).toBe('due to timeout');
  });
});
