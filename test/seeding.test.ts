import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { type DeviceId, deviceId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { fetchRange } from '../agent/src/artefacts/http-peer-range.ts';
import { type PeerTls, type SeedServer, startSeedServer } from '../agent/src/artefacts/http-seed-server.ts';
import { UNLIMITED } from '../agent/src/artefacts/pace.ts';
import type { CertificateAuthority } from '../controller/src/identity/certificate-authority.ts';
import { readCertificateRequest } from '../controller/src/identity/certificate-request.ts';
import { anAuthority, DeviceKey } from '../controller/src/identity/identity.fixture.ts';

const CONTENT = randomBytes(100_000);
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');
const RANGE = { start: 1000, end: 99_000, sha256: '' };

async function certified(authority: CertificateAuthority, name: string, validMs = 60_000): Promise<PeerTls> {
  const key = new DeviceKey();
  const csr = await readCertificateRequest(key.request(name));
  const now = unixMs(systemClock.now());
  const { pem: certificatePem } = await authority.issueDevice(deviceId(name), csr, now, milliseconds(validMs));
  return { keyPem: key.pem, certificate: certificatePem, authority: authority.certificatePem };
}

let folder: string;
let authority: CertificateAuthority;
let server: SeedServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-seeding-'));
  authority = await anAuthority();
  const path = join(folder, 'artefact');
  await writeFile(path, CONTENT);
  const tls = await certified(authority, 'holder');
  server = await startSeedServer({
    ...{ host: '127.0.0.1', port: 0, tls: () => tls, token: 'secret', pace: UNLIMITED },
    find: () => ({ path, sizeBytes: CONTENT.length }),
    ...{ clock: systemClock, log: silentLogger },
  });
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const ask = (tls: PeerTls | undefined, holder = 'holder', nowMs = systemClock.now() as number): Promise<Buffer> =>
  fetchRange({ ...server.seed, deviceId: holder as DeviceId }, SHA256, RANGE, {
    ...{ tls, nowMs },
    signal: AbortSignal.timeout(10_000),
  });

describe('devices with certificates of one fleet', () => {
  it('give each other ranges over TLS', async () => {
    expect(server.seed.url).toMatch(/^https:/);
    const bytes = await ask(await certified(authority, 'asker'));
    expect(bytes.equals(CONTENT.subarray(RANGE.start, RANGE.end))).toBe(true);
  });

  it('give nothing to who shows none, or one of another fleet', async () => {
    await expect(ask(undefined)).rejects.toThrow(/has none/);
    const stranger = await certified(await anAuthority(), 'asker');
    await expect(ask({ ...stranger, authority: authority.certificatePem })).rejects.toThrow();
    const plain = new Promise((resolve, reject) => {
      request(server.seed.url, { rejectUnauthorized: false, agent: false }, resolve).on('error', reject).end();
    });
    await expect(plain).rejects.toThrow();
  });

  it('take nothing from who is not the one that the controller named', async () => {
    const asker = await certified(authority, 'asker');
    await expect(ask(asker, 'another')).rejects.toThrow(/no certificate of another/);
    await expect(ask({ ...asker, authority: (await anAuthority()).certificatePem })).rejects.toThrow(/no certificate/);
    await expect(ask(asker, 'holder', systemClock.now() + 86_400_000)).rejects.toThrow(/no certificate/);
  });
});
