import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type RunningFleet, startFleet } from '../support/running-fleet.ts';

describe('`fleetgate up` on an address that other machines reach', () => {
  let fleet: RunningFleet;
  beforeAll(async () => {
    fleet = await startFleet({ args: ['--host', '0.0.0.0', '--fleet', 'none'] });
  }, 120_000);
  afterAll(async () => {
    expect(await fleet.stop()).toBe(0);
  });

  it('is ready by the key that its controller has made, and asks others for it', async () => {
    const status = (headers: Record<string, string>) => fetch(`${fleet.url}/api/v1/status`, { headers });
    expect((await status({})).status).toBe(401);
    const key = readFileSync(join(fleet.dataDir, 'controller', 'api-key'), 'utf8').trim();
    expect((await status({ authorization: `Bearer ${key}` })).status).toBe(200);
  });
});
