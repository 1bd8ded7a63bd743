import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { runCli } from './main.js';

/** What a controller would answer, and which addresses it was asked. */
const asked: string[] = [];
const explanation = {
  id: 'plan-1',
  prices: [{ text: 'power budget 12 W: +1 W buys 0.55 points, up to 14 W.' }],
  off: [{ device: 'pi-2', text: 'pi-2 is off: no variant may run there.' }],
  swaps: [],
};
const curve = {
  of: 'power',
  unit: 'W',
  now: 12,
  points: [
    { value: 9.25, objective: 512, bound: 512 },
    { value: 21, objective: 736.4, bound: 736.4 },
  ],
  text: 'Quality against power: 512 at 9.25 W, the least at which a plan fits.',
};
const answers: Readonly<Record<string, object>> = {
  '/api/v1/status': { activePlanId: 'plan-1' },
  '/api/v1/plans/plan-1': {
    id: 'plan-1',
    explanation: ['Quality is 700.'],
    conflict: null,
    relaxations: null,
    constraints: [],
  },
  '/api/v1/plans/plan-1/explain?overview=true': explanation,
  '/api/v1/plans/plan-1/explain?curve=power': { ...explanation, prices: undefined, curve },
  '/api/v1/plans/plan-1/explain?swap=pi-2%3Aa%3Ab&device=pi-2': {
    swap: { text: 'b instead of a on pi-2: costs 3 points.' },
    device: { text: 'pi-2 is off: the best plan with it on is as good.' },
  },
};
let server: Server;
beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const answer = answers[request.url ?? ''];
    response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => new Promise((resolve) => server.close(resolve)));
beforeEach(() => asked.splice(0));

async function explain(...argv: readonly string[]) {
  const out: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0);
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const status = await runCli(['plan', 'explain', ...argv, '--url', url, '--key', 'k']);
    return { status, out: out.join('') };
  } finally {
    spy.mockRestore();
  }
}

describe('fleetgate plan explain', () => {
  it('says what binding budgets are worth and who is off, of the active plan', async () => {
    const { status, out } = await explain();
    expect(status).toBe(0);
    expect(out).toBe(
      'Quality is 700.\n\nworth\n  power budget 12 W: +1 W buys 0.55 points, up to 14 W.\n' +
        '\noff\n  pi-2 is off: no variant may run there.\n',
    );
  });

  it('draws a curve', async () => {
    const { out } = await explain('plan-1', '--curve', 'power');
    expect(out).toContain('Quality against power: 512 at 9.25 W');
    expect(out).toMatch(/21\.000 W\s+736\.4\s+736\.4\s+#{40}\n/);
    expect(asked).toEqual(['/api/v1/plans/plan-1/explain?curve=power']);
  });

  it('answers what was asked about a swap and a device, and as JSON what the controller says', async () => {
    const { out } = await explain('plan-1', '--swap', 'pi-2:a:b', '--device', 'pi-2');
    expect(out).toBe('pi-2 is off: the best plan with it on is as good.\nb instead of a on pi-2: costs 3 points.\n');
    expect(JSON.parse((await explain('plan-1', '--json')).out)).toEqual(explanation);
  });

  it('refuses a curve of something else', async () => {
    expect((await explain('plan-1', '--curve', 'colour')).status).toBe(2);
  });
});
