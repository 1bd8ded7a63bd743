import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiClient } from './api-client.js';
import { runCli } from './main.js';
import { showBytes, tableLines } from './output.js';

describe('runCli', () => {
  let shown: { out: string; err: string };

  beforeEach(() => {
    shown = { out: '', err: '' };
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((shown.out += String(text)), true));
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((shown.err += String(text)), true));
  });
  afterEach(() => vi.restoreAllMocks());

  it('lists every command, those of the agent too, for --help', async () => {
    expect(await runCli(['--help'])).toBe(0);
    for (const name of [
      'devices',
      'experts',
      'plan',
      'budget',
      'requests',
      'keys',
      'tenants',
      'audit',
      'controller',
      'agent',
      'outcomes',
      'doctor',
    ]) {
      expect(shown.out).toMatch(new RegExp(`^  ${name} `, 'm'));
    }
  });

  it('says what was meant by a misspelt command, and exits 2', async () => {
    expect(await runCli(['devces'])).toBe(2);
    expect(shown.err).toContain("unknown command 'devces'");
    expect(shown.err).toContain('Did you mean devices?');
  });

  it('says what was meant by a misspelt option, and exits 2', async () => {
    expect(await runCli(['devices', 'list', '--jsn'])).toBe(2);
    expect(shown.err).toContain('Did you mean --json?');
  });

  it('says that no controller runs, what to do, and exits 1', async () => {
    expect(await runCli(['devices', '--url', 'http://127.0.0.1:9'])).toBe(1);
    expect(shown.err).toContain('no controller answers at http://127.0.0.1:9');
    expect(shown.err).toContain('hint: start one with');
    expect(shown.err).not.toContain('    at ');
  });

  it('prints errors as JSON with --json', async () => {
    expect(await runCli(['devices', '--url', 'ftp://nowhere', '--json'])).toBe(2);
    expect(JSON.parse(shown.out)).toMatchObject({ error: { code: 'usage.invalid', type: 'input' } });
  });
});

describe('ApiClient', () => {
  let server: Server;
  let answer: { status: number; body: string };
  let url: string;
  let seen: string | undefined;

  beforeEach(async () => {
    server = createServer((request, response) => {
      seen = request.headers.authorization;
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  it('sends the key and gives the document', async () => {
    answer = { status: 200, body: '{"items":[1]}' };
    expect(await new ApiClient({ url, key: 'k' }).get('/api/v1/devices')).toEqual({ items: [1] });
    expect(seen).toBe('Bearer k');
  });

  it('turns an error body into the same error here', async () => {
    answer = {
      status: 400,
      body: '{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"budget.invalid","hint":"try"}}',
    };
    await expect(new ApiClient({ url }).put('/x', {})).rejects.toMatchObject({
      code: 'budget.invalid',
      message: 'no',
      hint: 'try',
    });
  });

  it.each([
    [200, '<html>'],
    [502, 'Bad gateway'],
    [500, '{"error":"text"}'],
  ])('does not trust what is no controller: %d %s', async (status, body) => {
    answer = { status, body };
    await expect(new ApiClient({ url }).get('/x')).rejects.toMatchObject({ code: 'controller.unreachable' });
  });
});

describe('tables', () => {
  const columns = [
    { title: 'id', value: (row: { id: string; n: string }) => row.id },
    { title: 'n', value: (row: { id: string; n: string }) => row.n, align: 'right' as const },
  ];

  it('aligns and fits the width it is given', () => {
    const rows = [
      { id: 'a-very-long-device-name', n: '1' },
      { id: 'b', n: '200' },
    ];
    expect(tableLines(columns, rows, 20)).toEqual([
      'id                 n',
      'a-very-long-de…    1',
      'b                200',
    ]);
  });

  it('shows no control characters of what devices say', () => {
    expect(tableLines(columns, [{ id: 'x\u001b[2J\ny', n: '' }], undefined)[1]).toBe('x y');
  });

  it('shows bytes for people', () => {
    expect([0, 999, 1000, 12_345_678].map(showBytes)).toEqual(['0 B', '999 B', '1.0 kB', '12.3 MB']);
  });
});
