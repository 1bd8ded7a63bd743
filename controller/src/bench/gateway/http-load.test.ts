import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, describe, expect, test } from 'vitest';

import { runLoad } from './http-load.js';

describe('the load', () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  async function listen(answer: RequestListener): Promise<number> {
    const server = createServer(answer);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => void server.close());
    return (server.address() as AddressInfo).port;
  }

  const load = { headers: {}, connections: 2, durationMs: 60_000, requests: 6 };

  test('sends bodies in turns and reads answers of known length', async () => {
    const seen: string[] = [];
    const port = await listen((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      request.on('end', () => {
        seen.push(text);
        response.end('{"é":1}');
      });
    });
    const result = await runLoad({ ...load, port, bodies: ['"ü"', '"b"'] });
    expect(result).toMatchObject({ answered: 6, failed: 0, frames: 0 });
    expect(seen.toSorted()).toEqual(['"b"', '"b"', '"b"', '"ü"', '"ü"', '"ü"']);
  });

  test('counts the frames of a stream', async () => {
    const port = await listen((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (const part of ['data: {}\n\ndata: {}\n\n', 'data: {}\n\n', 'data: [DONE]\n\n']) response.write(part);
        response.end();
      });
    });
    expect(await runLoad({ ...load, port, bodies: ['{}'] })).toMatchObject({ answered: 6, frames: 3 });
  });

  test('tells failures and goes on by a new connection', async () => {
    let asked = 0;
    const port = await listen((request, response) => {
      const isFirst = asked++ === 0;
      request.resume().on('end', () => (isFirst ? response.writeHead(503).end('busy') : response.end('ok')));
    });
    const result = await runLoad({ ...load, connections: 1, port, bodies: ['{}'] });
    expect(result).toMatchObject({ answered: 5, failed: 1 });
    expect(result.firstFailure).toMatch(/^HTTP\/1\.1 503/);
  });
});
