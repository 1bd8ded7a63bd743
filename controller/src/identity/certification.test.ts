import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { deviceId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { openDatabase } from '../platform/sqlite-database.js';
import type { RenewalProof } from './certification.js';
import { CertificateRegister } from './certificate-register.js';
import { type CertificateStore, MemoryCertificateStore } from './certificate-store.js';
import { aCertification, anAuthority, DAY, DeviceKey } from './identity.fixture.js';
import { identitySchemaOfDatabase, SqliteCertificateStore } from './sqlite-certificate-store.js';

const [pi, phone] = [deviceId('pi'), deviceId('phone')];

describe('Certification', () => {
  let made: Awaited<ReturnType<typeof aCertification>>;
  const key = new DeviceKey();
  const enrol = async (name = pi, by = key) =>
    made.certification.issue(name, await made.certification.read(name, by.request(name)));
  const refuses = (name: typeof pi, pem: string, shown: RenewalProof, code: string) =>
    expect(made.certification.renew(name, pem, shown)).rejects.toMatchObject({ code });
  const live = (name = pi) => made.certification.live(name).map(({ serial }) => serial);

  beforeEach(async () => {
    made = await aCertification();
  });

  it('certifies a device once it has shown its key; enrolled again, the earlier certificate is dead', async () => {
    const first = await enrol();
    expect(live()).toEqual([first.serial]);
    const second = await enrol();
    expect(live()).toEqual([second.serial]);
  });

  it('refuses the key of another device, and a request that names another', async () => {
    await enrol();
    await expect(enrol(phone, key)).rejects.toMatchObject({ code: 'enrol.key-reused' });
    await expect(made.certification.read(phone, new DeviceKey().request('pi'))).rejects.toMatchObject({
      code: 'enrol.bad-request',
      message: expect.stringContaining('expected phone') as string,
    });
  });

  it('renews by proof of the present key, and lets both in until the older one runs out', async () => {
    const first = await enrol();
    made.clock.advance(20 * DAY);
    const next = new DeviceKey();
    const request = next.request('pi');
    const second = await made.certification.renew(pi, request, key.proof(first.pem, 'pi', request));
    expect(live()).toEqual([first.serial, second.serial]);
    made.clock.advance(11 * DAY);
    expect(live()).toEqual([second.serial]);
    const third = new DeviceKey().request('pi');
    const late = made.certification.renew(pi, third, key.proof(first.pem, 'pi', third));
    await expect(late).rejects.toMatchObject({
      code: 'enrol.certificate-refused',
      message: expect.stringContaining('ran out at') as string,
    });
  });

  it('revokes what a lost renewal left behind', async () => {
    const first = await enrol();
    const renew = async () => {
      const request = new DeviceKey().request('pi');
      return made.certification.renew(pi, request, key.proof(first.pem, 'pi', request));
    };
    await renew();
    const heard = await renew();
    expect(live()).toEqual([first.serial, heard.serial]);
  });

  it('refuses a renewal that is replayed, of another device, of a foreign authority, forged or revoked', async () => {
    const first = await enrol();
    const [next, other] = [new DeviceKey(), new DeviceKey()];
    const request = next.request('pi');
    const proof = key.proof(first.pem, 'pi', request);
    const foreign = await (
      await anAuthority()
    ).issueDevice(pi, await made.certification.read(pi, key.request('pi')), made.clock.now(), milliseconds(DAY));
    await refuses(pi, request, key.proof(foreign.pem, 'pi', request), 'enrol.certificate-refused');
    await refuses(phone, request, proof, 'enrol.certificate-refused');
    await refuses(pi, other.request('pi'), proof, 'enrol.certificate-refused');
    await refuses(pi, request, other.proof(first.pem, 'pi', request), 'enrol.certificate-refused');
    await refuses(pi, key.request('pi'), key.proof(first.pem, 'pi', key.request('pi')), 'enrol.certificate-refused');
    const own = key.request('pi');
    await refuses(pi, own, key.proof(first.pem, 'pi', own), 'enrol.key-reused');
    await made.certification.renew(pi, request, proof);
    await refuses(pi, request, proof, 'enrol.key-reused');
    await made.certification.revoke(pi);
    expect(live()).toEqual([]);
    const third = new DeviceKey().request('pi');
    await refuses(pi, third, key.proof(first.pem, 'pi', third), 'enrol.certificate-refused');
  });

  it('takes any text for a proof that does not fit', async () => {
    const first = await enrol();
    const request = new DeviceKey().request('pi');
    const proof = key.proof(first.pem, 'pi', request);
    const damaged = (text: string) =>
      fc.nat(text.length - 1).map((at) => `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`);
    const proofs = fc.oneof(
      fc.record({ certificate: fc.string(), signature: fc.string() }),
      damaged(first.pem).map((certificate) => ({ certificate, signature: '' })),
      damaged(proof.signature.replace(/=+$/, '').slice(0, -2)).map((signature) => ({ ...proof, signature })),
    );
    await fc.assert(
      fc.asyncProperty(proofs, async (shown) => {
        await refuses(pi, request, shown, 'enrol.certificate-refused');
      }),
      { numRuns: 500 },
    );
  });

  it('knows after a restart what was issued and revoked, and forgets what ran out', async () => {
    const store = new MemoryCertificateStore();
    made = await aCertification({ store });
    const { clock } = made;
    const revoked = await enrol();
    await made.certification.revoke(pi);
    const good = await enrol(phone, new DeviceKey());
    const again = await CertificateRegister.open(store, clock.now());
    expect(again.live(pi, clock.now())).toEqual([]);
    expect(again.live(phone, clock.now()).map(({ serial }) => serial)).toEqual([good.serial]);
    expect(again.revoked(clock.now())).toEqual([{ serial: revoked.serial, at: clock.now() }]);
    expect(again.ownerOfKey(key.digest)).toBe(pi);
    const much = await CertificateRegister.open(store, unixMs(clock.now() + 31 * DAY));
    // That the device had a certificate is known for good: a secret does not get it another.
    expect([much.has(pi), much.has(phone)]).toEqual([false, true]);
    expect(much.live(phone, unixMs(clock.now() + 31 * DAY))).toEqual([]);
  });
});

describe.each(['memory', 'sqlite'])('CertificateStore: %s', (kind) => {
  it('keeps records by their serial and forgets those that ran out and have a successor', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fleetgate-certificates-'));
    const database = await openDatabase(join(folder, 'control.sqlite'), [identitySchemaOfDatabase]);
    const store: CertificateStore =
      kind === 'sqlite' ? new SqliteCertificateStore(database) : new MemoryCertificateStore();
    const record = { deviceId: pi, keySha256: 'k', notAfter: unixMs(1000), revokedAt: undefined };
    await store.put([
      { ...record, serial: 'A' },
      { ...record, serial: 'B', notAfter: unixMs(2000) },
    ]);
    await store.put([{ ...record, serial: 'B', notAfter: unixMs(2000), revokedAt: unixMs(1500) }]);
    await store.put([{ ...record, serial: 'C', deviceId: phone }]);
    await store.forgetBefore(unixMs(1001));
    expect(await store.load()).toEqual([
      { ...record, serial: 'B', notAfter: unixMs(2000), revokedAt: unixMs(1500) },
      { ...record, serial: 'C', deviceId: phone },
    ]);
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  });
});
