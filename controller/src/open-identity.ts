/** Opens the fleet's certificate authority, where its broker is one that takes certificates. */
import { X509Certificate } from 'node:crypto';

import { milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { TlsMaterial } from './broker/aedes-tls-listener.js';
import { takesCertificates } from './config/config.js';
import type { KeyedCertificate } from './identity/certificate.js';
import type { CertificateAuthority } from './identity/certificate-authority.js';
import { CertificateRegister } from './identity/certificate-register.js';
import type { Certification } from './identity/certification.js';
import { keptAuthority } from './identity/disk-authority.js';
import { SqliteCertificateStore } from './identity/sqlite-certificate-store.js';
import type { Database } from './platform/database.js';
import type { Surroundings } from './surroundings.js';

const DAY_MS = 86_400_000;
/** The embedded one's is made anew every day, an external one's when the controller starts and a month and a half is left. */
const BROKER_VALIDITY = milliseconds(365 * DAY_MS);
/** Its key lives in memory alone and ends with the controller's process. */
const CONTROLLER_VALIDITY = milliseconds(3650 * DAY_MS);

export interface OpenIdentity {
  readonly authority: CertificateAuthority;
  readonly certification: Certification;
  /** SHA-256 of the authority's certificate, base64url: what a join token pins. */
  readonly authoritySha256: string;
}

/** Undefined where no broker takes certificates: the library of certificates is not loaded then. Throws `store.corrupt`. */
export async function openIdentity(
  { config, clock, random }: Surroundings,
  database: Database,
): Promise<OpenIdentity | undefined> {
  if (!takesCertificates(config)) return undefined;
  const [{ CertificateAuthority: Authority }, { Certification: Certifying }] = await Promise.all([
    import('./identity/certificate-authority.js'),
    import('./identity/certification.js'),
  ]);
  const { fleet, dataDir, certificateDays } = config;
  const key = await keptAuthority(dataDir, () => Authority.make(fleet, random, clock.now()));
  const authority = await Authority.open(fleet, random, key);
  const register = await CertificateRegister.open(new SqliteCertificateStore(database), clock.now());
  const validity = milliseconds(certificateDays * DAY_MS);
  const digest = new X509Certificate(authority.certificatePem).fingerprint256.replaceAll(':', '');
  return {
    authority,
    certification: new Certifying({ authority, register, clock, validity }),
    authoritySha256: Buffer.from(digest, 'hex').toString('base64url'),
  };
}

/** What a broker that is reached by `names` shows of itself. */
export async function brokerMaterial(
  authority: CertificateAuthority,
  names: readonly string[],
  now: UnixMs,
): Promise<TlsMaterial> {
  const { keyPem, pem } = await authority.issueBroker(names, now, BROKER_VALIDITY);
  return { keyPem, certificatePem: pem, authorityPem: authority.certificatePem };
}

/** By which the controller is let in at its broker. */
export function controllerCertificate(
  authority: CertificateAuthority,
  username: string,
  now: UnixMs,
): Promise<KeyedCertificate> {
  return authority.issueController(username, now, CONTROLLER_VALIDITY);
}
