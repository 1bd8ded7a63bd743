import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

import { ManualClock } from '@fleetgate/shared/clock';
import { certificateRequestPem } from '@fleetgate/shared/certificate-request';
import { type FleetId, fleetId } from '@fleetgate/shared/ids';
import { renewalText } from '@fleetgate/shared/protocol/enrolment';
import { systemRandom } from '@fleetgate/shared/random';
import { type Milliseconds, milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { CertificateAuthority } from './certificate-authority.js';
import { keyDigest } from './certificate-request.js';
import { CertificateRegister } from './certificate-register.js';
import { type CertificateStore, MemoryCertificateStore } from './certificate-store.js';
import { Certification, type RenewalProof } from './certification.js';

export const DAY = 86_400_000;
export const home = fleetId('home');

/** A device's key and what it makes of it. */
export class DeviceKey {
  readonly key: KeyObject = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;

  get pem(): string {
    return this.key.export({ type: 'pkcs8', format: 'pem' }).toString();
  }

  get publicPem(): string {
    return createPublicKey(this.pem).export({ type: 'spki', format: 'pem' }).toString();
  }

  get digest(): string {
    return keyDigest(createPublicKey(this.pem).export({ type: 'spki', format: 'der' }));
  }

  request(name: string): string {
    return certificateRequestPem(name, this.key);
  }

  proof(certificate: string, name: string, request: string): RenewalProof {
    const signature = sign('sha256', Buffer.from(renewalText(name, request)), this.key).toString('base64');
    return { certificate, signature };
  }
}

export async function anAuthority(fleet: FleetId = home, now: number = Date.now()): Promise<CertificateAuthority> {
  return CertificateAuthority.open(
    fleet,
    systemRandom,
    await CertificateAuthority.make(fleet, systemRandom, unixMs(now)),
  );
}

/** A certification at the present time, on a clock that stands still. */
export async function aCertification(
  parts: { readonly store?: CertificateStore; readonly validity?: Milliseconds; readonly clock?: ManualClock } = {},
): Promise<{ certification: Certification; authority: CertificateAuthority; clock: ManualClock }> {
  const { store = new MemoryCertificateStore(), validity = milliseconds(30 * DAY) } = parts;
  const clock = parts.clock ?? new ManualClock(unixMs(Date.now()));
  const authority = await anAuthority(home, clock.now());
  const register = await CertificateRegister.open(store, clock.now());
  return { certification: new Certification({ authority, register, clock, validity }), authority, clock };
}
