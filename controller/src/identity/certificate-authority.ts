import 'reflect-metadata';

import type { webcrypto } from 'node:crypto';

import { CLOCK_TOLERANCE } from '@fleetgate/shared/protocol/enrolment';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { DeviceId, FleetId } from '@fleetgate/shared/ids';
import type { Random } from '@fleetgate/shared/random';
import { after, type Milliseconds, milliseconds, unixMs, type UnixMs } from '@fleetgate/shared/units/quantity';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralName,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
  X509CrlReason,
} from '@peculiar/x509';

import { type AuthorityKey, brokerNameOf, type IssuedCertificate, type KeyedCertificate } from './certificate.js';
import { type CertificateRequest, keyDigest } from './certificate-request.js';

// P-256 with SHA-256: what TLS 1.2 and 1.3 of Node, OpenSSL and mbedTLS all take, on devices too small for RSA.
const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;
const TEN_YEARS = milliseconds(3652 * 86_400_000);
/** 22 characters of 64 are 132 bits; the 128 used make two serial numbers alike as likely as two secrets. */
const SERIAL_CHARACTERS = 22;

interface Subject {
  readonly name: JsonName;
  readonly names: readonly JsonGeneralName[];
  readonly usage: ExtendedKeyUsage;
}

/** The certificate authority of one fleet. Certifies keys; what it has issued is remembered elsewhere. */
export class CertificateAuthority {
  readonly certificatePem: string;
  readonly #fleet: FleetId;
  readonly #random: Random;
  readonly #certificate: X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(fleet: FleetId, random: Random, certificate: X509Certificate, key: webcrypto.CryptoKey) {
    this.certificatePem = certificate.toString('pem');
    this.#fleet = fleet;
    this.#random = random;
    this.#certificate = certificate;
    this.#key = key;
  }

  /** Makes the key of a new authority, good for ten years. */
  static async make(fleet: FleetId, random: Random, now: UnixMs): Promise<AuthorityKey> {
    const keys = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(random),
      name: [{ CN: [`Fleetgate authority of ${fleet}`] }, { O: [fleet] }],
      notBefore: new Date(now - CLOCK_TOLERANCE),
      notAfter: dateOf(now, TEN_YEARS),
      signingAlgorithm: SIGNATURE,
      keys,
      extensions: [
        // No authority below this one: a device cannot certify others.
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return { keyPem: await exportKey(keys.privateKey), certificatePem: certificate.toString('pem') };
  }

  /** Throws `store.corrupt` when key and certificate are damaged, do not belong together or are of another fleet. */
  static async open(
    fleet: FleetId,
    random: Random,
    { keyPem, certificatePem }: AuthorityKey,
  ): Promise<CertificateAuthority> {
    try {
      const certificate = new X509Certificate(certificatePem);
      const key = await crypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(keyPem), KEY, false, ['sign']);
      const proof = await crypto.subtle.sign(SIGNATURE, key, certificate.rawData);
      const publicKey = await certificate.publicKey.export(KEY, ['verify']);
      const fits = await crypto.subtle.verify(SIGNATURE, publicKey, proof, certificate.rawData);
      if (!fits) throw new Error('its key is not that of its certificate');
      const [owner] = certificate.subjectName.getField('O');
      if (owner !== fleet) throw new Error(`it belongs to the fleet ${owner}, expected ${fleet}`);
      return new CertificateAuthority(fleet, random, certificate, key);
    } catch (cause) {
      throw new FleetError('store.corrupt', `the certificate authority cannot be used: ${messageOf(cause)}`, {
        hint: 'restore the files of the folder `authority` from a copy; without it every device has to enrol again',
        cause,
      });
    }
  }

  /** Certifies the key of a device; `request` has been checked. */
  issueDevice(
    device: DeviceId,
    request: CertificateRequest,
    now: UnixMs,
    validity: Milliseconds,
  ): Promise<IssuedCertificate> {
    const subject: Subject = {
      name: this.#nameOf(device),
      names: [{ type: 'dns', value: device }],
      usage: ExtendedKeyUsage.clientAuth,
    };
    return this.#issue(subject, request.publicKey, now, validity);
  }

  /** A key and certificate for a broker that is reached by `addresses` and, from devices, by `brokerNameOf(fleet)`. */
  issueBroker(addresses: readonly string[], now: UnixMs, validity: Milliseconds): Promise<KeyedCertificate> {
    const name = brokerNameOf(this.#fleet);
    const names = [...new Set([name, ...addresses])].map(generalName);
    return this.#issueKeyed({ name: this.#nameOf(name), names, usage: ExtendedKeyUsage.serverAuth }, now, validity);
  }

  /** A key and certificate by which the controller is let in at a broker as `username`. */
  issueController(username: string, now: UnixMs, validity: Milliseconds): Promise<KeyedCertificate> {
    const subject: Subject = { name: this.#nameOf(username), names: [], usage: ExtendedKeyUsage.clientAuth };
    return this.#issueKeyed(subject, now, validity);
  }

  /**
   * List of what was revoked, for brokers that read one (PEM). It never runs out before the authority does: a
   * controller that is away must not shut the fleet out.
   */
  async revocationList(
    revoked: readonly { readonly serial: string; readonly at: UnixMs }[],
    now: UnixMs,
  ): Promise<string> {
    const list = await X509CrlGenerator.create({
      issuer: this.#certificate.subjectName,
      thisUpdate: new Date(now - CLOCK_TOLERANCE),
      nextUpdate: this.#certificate.notAfter,
      // With a reason: the library writes an empty list of extensions without one, which X.509 does not have.
      entries: revoked.map((one) => ({
        serialNumber: one.serial,
        revocationDate: new Date(one.at),
        reason: X509CrlReason.privilegeWithdrawn,
      })),
      extensions: [await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey)],
      signingAlgorithm: SIGNATURE,
      signingKey: this.#key,
    });
    // The library's own label is CRL, which OpenSSL does not know.
    return PemConverter.encode(list.rawData, 'X509 CRL');
  }

  #nameOf(commonName: string): JsonName {
    return [{ CN: [commonName] }, { O: [this.#fleet] }];
  }

  async #issueKeyed(subject: Subject, now: UnixMs, validity: Milliseconds): Promise<KeyedCertificate> {
    const keys = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
    const publicKey = await crypto.subtle.exportKey('spki', keys.publicKey);
    return { ...(await this.#issue(subject, publicKey, now, validity)), keyPem: await exportKey(keys.privateKey) };
  }

  async #issue(
    subject: Subject,
    publicKey: ArrayBuffer,
    now: UnixMs,
    validity: Milliseconds,
  ): Promise<IssuedCertificate> {
    const key = new PublicKey(publicKey);
    const names: readonly Extension[] =
      subject.names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...subject.names])];
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serial(this.#random),
      subject: subject.name,
      issuer: this.#certificate.subjectName,
      notBefore: new Date(now - CLOCK_TOLERANCE),
      notAfter: dateOf(now, validity),
      signingAlgorithm: SIGNATURE,
      publicKey: key,
      signingKey: this.#key,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([subject.usage]),
        await SubjectKeyIdentifierExtension.create(key),
        await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
        ...names,
      ],
    });
    return {
      pem: certificate.toString('pem'),
      serial: certificate.serialNumber.toUpperCase(),
      keySha256: keyDigest(publicKey),
      notBefore: unixMs(certificate.notBefore.getTime()),
      notAfter: unixMs(certificate.notAfter.getTime()),
    };
  }
}

/** 128 bits whose first are 01: positive, and of the same length for everybody who writes it down. */
function serial(random: Random): string {
  const bytes = Buffer.from(random.token(SERIAL_CHARACTERS), 'base64url').subarray(0, 16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** Certificates tell seconds. */
function dateOf(from: UnixMs, later: Milliseconds): Date {
  return new Date(1000 * Math.floor(after(from, later) / 1000));
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

function generalName(name: string): JsonGeneralName {
  const isAddress = /^[\d.]+$/.test(name) || name.includes(':');
  return { type: isAddress ? 'ip' : 'dns', value: name };
}
