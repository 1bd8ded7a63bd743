import { createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';

import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId } from '@fleetgate/shared/ids';
import { type Milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { renewalText } from '@fleetgate/shared/protocol/enrolment';

import type { IssuedCertificate } from './certificate.js';
import type { CertificateAuthority } from './certificate-authority.js';
import type { CertificateRegister } from './certificate-register.js';
import { type CertificateRequest, keyDigest, readCertificateRequest } from './certificate-request.js';

/** What a device shows to have its certificate renewed: the present one, and a signature by its key over the new request. */
export interface RenewalProof {
  readonly certificate: string;
  /** ECDSA with SHA-256 over `renewalText`, DER, base64. */
  readonly signature: string;
}

export interface CertificationParts {
  readonly authority: CertificateAuthority;
  readonly register: CertificateRegister;
  readonly clock: Clock;
  /** For how long a device's certificate is good. */
  readonly validity: Milliseconds;
}

/** Decides whose key is certified, and remembers what was. */
export class Certification {
  readonly #parts: CertificationParts;

  constructor(parts: CertificationParts) {
    this.#parts = parts;
  }

  get authorityPem(): string {
    return this.#parts.authority.certificatePem;
  }

  /**
   * Reads the request of a device that enrols. Throws `enrol.bad-request`, also when it names another device;
   * `enrol.key-reused` when another device has, or had, that key.
   */
  async read(device: DeviceId, pem: string): Promise<CertificateRequest> {
    const request = await readCertificateRequest(pem);
    if (request.commonName !== device) {
      const found = `it names ${JSON.stringify(request.commonName.slice(0, 100))}, expected ${device}`;
      throw new FleetError('enrol.bad-request', `the certificate signing request cannot be used: ${found}`, {
        hint: 'the common name is the device name',
      });
    }
    const owner = this.#parts.register.ownerOfKey(request.keySha256);
    if (owner !== undefined && owner !== device) throw keyReused('another device');
    return request;
  }

  /** Certifies what `read` gave; every earlier certificate of the device is dead. */
  async issue(device: DeviceId, request: CertificateRequest): Promise<IssuedCertificate> {
    const { authority, clock, validity, register } = this.#parts;
    const issued = await authority.issueDevice(device, request, clock.now(), validity);
    await register.add(device, issued, [], clock.now());
    return issued;
  }

  /**
   * A certificate for a new key, in exchange for proof of the present one, which stays good until it runs out: the answer
   * may be lost. Throws `enrol.certificate-refused` when the present one is not good or the proof does not fit, else as
   * `read`; `enrol.key-reused` for a key that was certified before, which is how a replayed request shows.
   */
  async renew(device: DeviceId, pem: string, proof: RenewalProof): Promise<IssuedCertificate> {
    const { authority, clock, validity, register } = this.#parts;
    const { serial, publicKey } = readProof(proof);
    const present = register.find(serial);
    if (present?.deviceId !== device || present.keySha256 !== keyDigest(spkiOf(publicKey))) {
      throw refused('it is none that this fleet gave to this device');
    }
    if (present.revokedAt !== undefined) throw refused('it has been revoked');
    if (present.notAfter <= clock.now()) throw refused(`it ran out at ${new Date(present.notAfter).toISOString()}`);
    if (!verify('sha256', Buffer.from(renewalText(device, pem)), publicKey, Buffer.from(proof.signature, 'base64'))) {
      throw refused('the signature was not made by its key');
    }
    const request = await this.read(device, pem);
    if (register.ownerOfKey(request.keySha256) !== undefined) throw keyReused('this device before');
    const issued = await authority.issueDevice(device, request, clock.now(), validity);
    // Again: it may have been revoked while this one was being made.
    if (register.find(serial)?.revokedAt !== undefined) throw refused('it has been revoked');
    await register.add(device, issued, [serial], clock.now());
    return issued;
  }

  /** Whether the device has a certificate, though it may have run out. */
  has(device: DeviceId): boolean {
    return this.#parts.register.has(device);
  }

  /** Whether `request` is for a key of which the device has a certificate. */
  isOf(device: DeviceId, request: CertificateRequest | undefined): boolean {
    return request !== undefined && this.#parts.register.ownerOfKey(request.keySha256) === device;
  }

  /** The certificates by which the device is let in. */
  live(device: DeviceId): readonly { readonly serial: string; readonly notAfterMs: number }[] {
    const records = this.#parts.register.live(device, this.#parts.clock.now());
    return records.map(({ serial, notAfter }) => ({ serial, notAfterMs: notAfter }));
  }

  async revoke(device: DeviceId): Promise<void> {
    await this.#parts.register.revokeAll(device, this.#parts.clock.now());
  }

  /** List of everything revoked, PEM. */
  revocationList(): Promise<string> {
    const { authority, register, clock } = this.#parts;
    const now = unixMs(clock.now());
    return authority.revocationList(register.revoked(now), now);
  }
}

function readProof({ certificate }: RenewalProof): { readonly serial: string; readonly publicKey: KeyObject } {
  try {
    const present = new X509Certificate(certificate);
    return {
      serial: present.serialNumber,
      publicKey: createPublicKey(present.publicKey.export({ type: 'spki', format: 'pem' })),
    };
  } catch (cause) {
    throw new FleetError('enrol.certificate-refused', 'the present certificate cannot be read', {
      hint: 'send the certificate that this controller issued, as PEM',
      cause,
    });
  }
}

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

function refused(why: string): FleetError {
  return new FleetError('enrol.certificate-refused', `the certificate of the device is not accepted: ${why}`, {
    hint: 'remove the device (`fleetgate devices remove NAME`) and enrol it again with a join token',
  });
}

function keyReused(whose: string): FleetError {
  return new FleetError('enrol.key-reused', `the key of the certificate signing request was certified for ${whose}`, {
    hint: 'every device makes a key of its own, and a new one for each renewal: was its data directory copied?',
  });
}
