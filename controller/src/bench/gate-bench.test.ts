import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { readValidationPairs, type ValidationPair } from './disk-validation-pairs.js';
import { askStreaming } from './fleet-client.js';
import { gateBench } from './gate-bench.js';
import { HttpFleetClient } from './http-fleet-client.js';

interface Asked {
  readonly model: string;
  readonly prompt?: string;
  readonly stream?: boolean;
}

/** A controller's HTTP side, as far as the benchmarks see it: serves math and law, not big; refuses the first request. */
let server: Server;
let refusals = 0;
let client: HttpFleetClient;
beforeEach(async () => {
  refusals = 1;
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const asked = (body === '' ? {} : JSON.parse(body)) as Asked;
      const answer = (status: number, value: object, headers: Record<string, string> = {}) =>
        response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
      const refuse = (status: number, code: string, again: boolean) =>
        answer(status, { error: { message: code, code } }, { 'x-should-retry': String(again) });
      if (request.url === '/api/v1/experts') {
        answer(200, { items: ['math', 'law', 'big'].map((id) => ({ id })) });
      } else if (refusals-- > 0) {
        refuse(429, 'rate_limit_exceeded', true);
      } else if (asked.stream === true) {
        response.writeHead(200, { 'x-request-id': 'req-1', 'x-fleetgate-expert': 'law' });
        response.write('data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n');
        response.end('data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n');
      } else if (request.url === '/v1/chat/completions') {
        const usage = { completion_tokens: 2, energy_joules: 0.5 };
        answer(200, { usage }, { 'x-fleetgate-expert': body.includes('sum') ? 'math' : 'law' });
      } else if (asked.model === 'big') {
        refuse(503, 'no_capacity', false);
      } else {
        const isOwn = (asked.model === 'math') === (asked.prompt ?? '').includes('sum');
        answer(200, { bits: isOwn ? 10 : 30, bytes: 10, energyJ: 0.1 });
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  client = new HttpFleetClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, 'key');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const pairs: readonly ValidationPair[] = [
  { domain: 'math', prompt: 'the sum of 1 and 2', completion: '3' },
  { domain: 'law', prompt: 'a contract', completion: 'yes' },
];
const never = new AbortController().signal;

describe('the gate benchmark', () => {
  test('waits out a busy fleet, and scores what the plan does not serve offline', async () => {
    const offline = () => Promise.resolve(pairs.map(() => ({ big: 2, math: 1 })));
    const report = await gateBench(client, pairs, offline, () => {}, never);
    expect(report.tables[0]?.rows).toEqual([
      ['math', 0, 1],
      ['law', 1, 0],
    ]);
    const single = report.figures.find((one) => one.otherName.startsWith('best single'));
    expect(single).toMatchObject({ ours: 1, other: 2, ratio: 0.5 });
    expect(report.notes.join('\n')).toMatch(/served nowhere by the plan.*big/);
  });

  test('stops when it is told to', async () => {
    const run = gateBench(
      client,
      pairs,
      () => Promise.resolve([]),
      () => {},
      AbortSignal.abort(new Error('enough')),
    );
    await expect(run).rejects.toThrow('enough');
  });

  test('a streamed answer tells when its first text came', async () => {
    const answer = await askStreaming(client, 'auto', 'hello', 4);
    expect(answer).toMatchObject({ requestId: 'req-1', expert: 'law' });
    expect(answer.firstTokenMs).toBeLessThanOrEqual(answer.totalMs);
  });

  test('says where no controller answers', async () => {
    const nobody = new HttpFleetClient('http://127.0.0.1:9', undefined);
    await expect(nobody.get('/api/v1/experts')).rejects.toThrow(
      expect.objectContaining({ code: 'controller.unreachable' }),
    );
  });
});

describe('validation pairs', () => {
  test('are read by domain, and a wrong line is named', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fleetgate-pairs-'));
    try {
      await expect(readValidationPairs(folder, 2)).rejects.toThrow(expect.objectContaining({ code: 'config.invalid' }));
      const line = (at: number) => `{"prompt":"p${at}","completion":"c","source":"s"}\n`;
      await writeFile(join(folder, 'law.valid.jsonl'), [0, 1, 2, 3].map(line).join(''));
      const read = await readValidationPairs(folder, 2);
      expect(read.map((pair) => [pair.domain, pair.prompt])).toEqual([
        ['law', 'p0'],
        ['law', 'p2'],
      ]);
      await writeFile(join(folder, 'math.valid.jsonl'), `${line(1)}{"prompt":""}\n`);
      await expect(readValidationPairs(folder, 2)).rejects.toThrow(/math\.valid\.jsonl line 2/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
