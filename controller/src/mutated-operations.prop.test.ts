import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { silentLogger } from '@fleetgate/shared/logger';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { loadConfig } from './config/config.js';
import { DeviceKey } from './identity/identity.fixture.js';
import { type RunningController, startController } from './main.js';
import { type JsonObject, mutatedJson } from './platform/mutated-json.fixture.js';

const BUDGETS: JsonObject = {
  fleetPowerW: 100,
  maxVariants: 9,
  moveBytes: null,
  defaultClass: { latencyMeanMs: 20_000, energyJ: 200, minServed: 0.9, minReplicas: 1, weight: 1 },
  classes: { math: { weight: 2, energyJ: null } },
};
const CSR = new DeviceKey().request('pi');
const BODIES: readonly (readonly [method: string, path: string, documents: readonly JsonObject[]])[] = [
  [
    'POST',
    '/api/v1/enrol',
    [{ token: 'x'.repeat(43), name: 'pi', board: 'raspberry-pi-5', nonce: 'n'.repeat(43), csr: CSR }],
  ],
  ['POST', '/api/v1/enrol/renew', [{ deviceId: 'pi', csr: CSR, proof: { certificate: CSR, signature: 'AAAA' } }]],
  ['POST', '/api/v1/join-tokens', [{ ttlS: 60, uses: 2 }]],
  ['PUT', '/api/v1/budgets', [BUDGETS]],
  ['POST', '/v1/feedback', [{ request_id: 'req-0mwym5myvyh6u2F8SlYv', rating: 'up', comment: 'fine' }]],
  [
    'POST',
    '/api/v1/experts',
    [
      { source: '/nowhere/model.gguf', name: 'new', domains: ['law'] },
      { source: 'https://127.0.0.1:1/model.gguf', name: 'far' },
      { source: 'https://127.0.0.1:1/%zz.gguf', name: 'odd', domains: ['law'] },
    ],
  ],
  [
    'POST',
    '/api/v1/experts/math/variants',
    [
      { name: 'math-a', how: 'made', serving: { slabBudgetBytes: 1 }, loss: { math: 1 } },
      { name: 'math-b', adapter: { source: '/nowhere/lora.gguf', scale: 0.5 } },
    ],
  ],
  ['POST', '/api/v1/experts/math/enrol', [{}]],
  [
    'POST',
    '/api/v1/keys',
    [{ label: 'x', scopes: ['infer', 'admin'], tenant: 'acme', expiresAtMs: 1_900_000_000_000 }],
  ],
  ['PUT', '/api/v1/tenants/acme', [{ requestsPerMinute: 1_000_000, outputTokensPerMinute: null }]],
  ['POST', '/api/v1/plans/propose', [{}, { budgets: BUDGETS }]],
  ['POST', '/v1/chat/completions', [{ model: 'auto', messages: [{ role: 'user', content: 'hi' }] }]],
];
const PATHS = [
  'devices',
  'enrolments',
  'join-tokens',
  'experts',
  'plans',
  'requests',
  'telemetry',
  'gate',
  'artefacts',
  'variants',
  'rollouts',
  'audit',
  'keys',
];
const QUERY = ['limit', 'before', 'device', 'metric', 'from', 'to', 'step', 'curve', 'swap', 'overview'];

let controller: RunningController;
let folder: string;
const failures: unknown[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-mutated-'));
  const config = loadConfig({
    flags: {
      ...{ dataDir: join(folder, 'c'), httpPort: 0, mqttPort: 0, mqttTlsPort: 0 },
      outcomesPath: join(folder, 'none.jsonl.gz'),
    },
    environment: {},
  });
  const error = (event: string, what?: object): void => {
    if (event === 'http.failed') failures.push(what);
  };
  controller = await startController(config, { log: { ...silentLogger, error } });
});
afterAll(async () => {
  await controller.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function expectNoFailure(response: Response): Promise<void> {
  const text = await response.text();
  expect(response.status, text.slice(0, 500)).not.toBe(500);
  if (response.status >= 400)
    expect(JSON.parse(text)).toMatchObject({ error: { message: expect.any(String) as string } });
  expect(failures.splice(0)).toEqual([]);
}

describe('what is sent to a controller with faults', () => {
  it.each(BODIES)('in a body is answered or refused by %s %s', async (method, path, documents) => {
    await fc.assert(
      fc.asyncProperty(mutatedJson(documents), async (body) => {
        const headers = { 'content-type': 'application/json' };
        await expectNoFailure(await fetch(controller.httpUrl + path, { method, headers, body: new Uint8Array(body) }));
      }),
      { numRuns: 100 },
    );
  });

  it('in an address is answered or refused', async () => {
    const odd = fc.oneof(fc.string(), fc.constantFrom('%00', '%ff', '..%2f..', '__proto__', '-1', '1e99', 'NaN', 'pi'));
    const query = fc.array(fc.tuple(fc.constantFrom(...QUERY), odd), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...PATHS),
        fc.array(odd, { maxLength: 2 }),
        query,
        async (path, names, asked) => {
          const address = [path, ...names.map((name) => (name.startsWith('%') ? name : encodeURIComponent(name)))].join(
            '/',
          );
          const search = asked.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&');
          await expectNoFailure(await fetch(`${controller.httpUrl}/api/v1/${address}?${search}`));
        },
      ),
      { numRuns: 300 },
    );
  });
});
