import { execFileSync } from 'node:child_process';
import { X509Certificate as NodeCertificate } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { isFleetError } from '@fleetgate/shared/errors';
import { deviceId, fleetId } from '@fleetgate/shared/ids';
import { systemRandom } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { CertificateAuthority } from './certificate-authority.js';
import { readCertificateRequest } from './certificate-request.js';
import { keptAuthority } from './disk-authority.js';
import { anAuthority, DAY, DeviceKey, home } from './identity.fixture.js';

const now = unixMs(Date.now());
const month = milliseconds(30 * DAY);
const openssl = ['/usr/bin/openssl'].find((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);

let folder: string;
let authority: CertificateAuthority;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-authority-'));
  authority = await anAuthority();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function issue(name: string, key = new DeviceKey()) {
  const request = await readCertificateRequest(key.request(name));
  return authority.issueDevice(deviceId(name), request, now, month);
}

describe('CertificateAuthority', () => {
  it('certifies the key of a device under its name, for its fleet and no longer than asked', async () => {
    const key = new DeviceKey();
    const { pem, serial, keySha256, notAfter } = await issue('pi_4.a', key);
    const certificate = new NodeCertificate(pem);
    const ca = new NodeCertificate(authority.certificatePem);
    expect(certificate.subject).toBe('CN=pi_4.a\nO=home');
    expect(certificate.subjectAltName).toBe('DNS:pi_4.a');
    expect(certificate.publicKey.export({ type: 'spki', format: 'pem' })).toBe(key.publicPem);
    expect(certificate.verify(ca.publicKey)).toBe(true);
    expect(certificate.checkIssued(ca)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(certificate.serialNumber).toBe(serial);
    expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
    expect(keySha256).toMatch(/^[0-9a-f]{64}$/);
    expect(new Date(certificate.validTo).getTime()).toBe(notAfter);
    expect(notAfter - now).toBeLessThanOrEqual(month);
    expect(notAfter - now).toBeGreaterThan(month - 1000);
    expect(new Date(certificate.validFrom).getTime()).toBeLessThan(now);
  });

  it('certifies a broker by its fixed name and the addresses it is reached by', async () => {
    const { pem } = await authority.issueBroker(['127.0.0.1', '::1', 'box.lan', '127.0.0.1'], now, month);
    const certificate = new NodeCertificate(pem);
    expect(certificate.checkHost('broker.home.fleetgate')).toBeDefined();
    expect(certificate.checkHost('box.lan')).toBeDefined();
    expect(certificate.checkIP('127.0.0.1')).toBeDefined();
    expect(certificate.checkIP('0:0:0:0:0:0:0:1')).toBeDefined();
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  });

  it.skipIf(openssl === undefined)(
    'is understood by OpenSSL: requests, certificates, list of revoked ones',
    async () => {
      const key = new DeviceKey();
      const [good, bad] = [await issue('pi', key), await issue('pi')];
      const files = {
        'request.pem': key.request('pi'),
        'ca.pem': authority.certificatePem,
        'good.pem': good.pem,
        'bad.pem': bad.pem,
        'revoked.pem': await authority.revocationList([{ serial: bad.serial, at: now }], now),
      };
      for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
      const run = (...args: readonly string[]) =>
        execFileSync(openssl ?? '', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
      expect(run('req', '-in', 'request.pem', '-verify', '-noout', '-subject')).toContain('CN = pi');
      const verify = ['verify', '-x509_strict', '-crl_check', '-CAfile', 'ca.pem', '-CRLfile', 'revoked.pem'];
      expect(run(...verify, '-purpose', 'sslclient', 'good.pem')).toContain('good.pem: OK');
      expect(() => run(...verify, 'bad.pem')).toThrow(/certificate revoked/);
    },
  );

  it('is kept for its owner alone, and is the same after a restart', async () => {
    const make = () => CertificateAuthority.make(home, systemRandom, now);
    const made = await keptAuthority(folder, make);
    expect(await keptAuthority(folder, make)).toMatchObject(made);
    expect(statSync(join(folder, 'authority')).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, 'authority', 'authority.json')).mode & 0o777).toBe(0o600);
    const opened = await CertificateAuthority.open(home, systemRandom, made);
    expect(opened.certificatePem).toBe(made.certificatePem);
  });

  it('refuses a damaged key, one of another certificate, and one of another fleet', async () => {
    const [one, other] = [
      await CertificateAuthority.make(home, systemRandom, now),
      await CertificateAuthority.make(home, systemRandom, now),
    ];
    const open = (key: typeof one, fleet = home) => CertificateAuthority.open(fleet, systemRandom, key);
    const damaged = [
      () => open({ ...one, keyPem: other.keyPem }),
      () => open({ ...one, keyPem: 'no key' }),
      () => open({ ...one, certificatePem: one.keyPem }),
      () => open(one, fleetId('away')),
    ];
    for (const opening of damaged) await expect(opening()).rejects.toMatchObject({ code: 'store.corrupt' });
    writeFileSync(join(folder, 'authority', 'authority.json'), '{');
    await expect(keptAuthority(folder, () => Promise.resolve(one))).rejects.toMatchObject({ code: 'store.corrupt' });
  });
});

describe('readCertificateRequest', () => {
  it('gives the name and the key', async () => {
    const request = await readCertificateRequest(new DeviceKey().request('a'.repeat(63)));
    expect(request.commonName).toBe('a'.repeat(63));
  });

  it('refuses damaged requests and other bytes as bad requests: none says another name or key', async () => {
    const key = new DeviceKey();
    const pem = key.request('pi');
    const body = Buffer.from(pem.replace(/-----[^-]+-----|\n/g, ''), 'base64');
    const wrap = (bytes: Uint8Array) =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    await expect(readCertificateRequest(wrap(body))).resolves.toMatchObject({ commonName: 'pi' });
    const changed = fc
      .tuple(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }))
      .map(([at, by]) => wrap(body.map((byte, index) => (index === at ? byte ^ by : byte))));
    const cut = fc.nat(body.length - 1).map((size) => wrap(body.subarray(0, size)));
    const bytes = fc.uint8Array({ maxLength: 400 }).map(wrap);
    const texts = fc.string({ maxLength: 5000 });
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, cut, bytes, texts), async (text) => {
        const read = await readCertificateRequest(text).catch((error: unknown) => error);
        // Bytes that say nothing, such as how a length is written, may differ.
        if (isFleetError(read, 'enrol.bad-request')) return;
        expect(read).toMatchObject({ commonName: 'pi', keySha256: key.digest });
      }),
      { numRuns: 1000 },
    );
  });
});
