import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ApiClient } from './api-client.js';

const ANSWERS: Readonly<Record<string, readonly [number, string]>> = {
  '/asks-for-key': [
    401,
    JSON.stringify({
      error: { message: 'no key', type: 'x', param: null, code: 'auth.invalid', hint: 'send a header' },
    }),
  ],
  '/says-why': [
    400,
    JSON.stringify({ error: { message: 'wrong', type: 'x', param: null, code: 'request.invalid', hint: 'do better' } }),
  ],
  '/other-program': [502, '<html>Bad Gateway</html>'],
  '/no-json': [200, 'hello'],
};

describe('what a command hears of a controller', () => {
  const server = createServer((request, response) => {
    const [status, body] = ANSWERS[request.url ?? ''] ?? [404, ''];
    response.writeHead(status).end(body);
  });
  let client: ApiClient;

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    client = new ApiClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it.each([
    ['/asks-for-key', 'auth.invalid', /--key or FLEETGATE_API_KEY/],
    ['/says-why', 'request.invalid', /^do better$/],
    ['/other-program', 'controller.unreachable', /address of a Fleetgate controller/],
    ['/no-json', 'controller.unreachable', /address of a Fleetgate controller/],
  ])('%s is %s, with a hint for who types commands', async (path, code, hint) => {
    await expect(client.get(path)).rejects.toMatchObject({ code, hint: expect.stringMatching(hint) as string });
  });

  it('nobody there, and no address', async () => {
    const nobody = new ApiClient({ url: 'http://127.0.0.1:1' });
    await expect(nobody.get('/')).rejects.toMatchObject({ code: 'controller.unreachable' });
    expect(() => new ApiClient({ url: 'ftp://x' })).toThrow(expect.objectContaining({ code: 'usage.invalid' }));
  });
});
