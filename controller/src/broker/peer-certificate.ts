import type { X509Certificate } from 'node:crypto';

/** What a verified client certificate says. */
export interface PeerCertificate {
  readonly commonName: string;
  readonly serial: string;
  readonly notAfterMs: number;
}

/** Why a client certificate is not accepted. */
export type CertificateFault =
  'missing' | 'foreign' | 'expired' | 'not-yet-valid' | 'unsuitable' | 'unknown' | 'other-name';

/** Undefined for a certificate without exactly one common name, or one that cannot be read: strangers send what they like. */
export function peerOf(certificate: X509Certificate): PeerCertificate | undefined {
  try {
    const subject: unknown = certificate.toLegacyObject().subject;
    const name: unknown = typeof subject === 'object' && subject !== null && 'CN' in subject ? subject.CN : undefined;
    if (typeof name !== 'string') return undefined;
    return { commonName: name, serial: certificate.serialNumber, notAfterMs: Date.parse(certificate.validTo) };
  } catch {
    return undefined;
  }
}

/** In our words, why OpenSSL did not verify a chain. */
export function faultOf(verifyCode: string): CertificateFault {
  if (verifyCode === 'CERT_HAS_EXPIRED') return 'expired';
  if (verifyCode === 'CERT_NOT_YET_VALID') return 'not-yet-valid';
  return verifyCode === 'INVALID_PURPOSE' ? 'unsuitable' : 'foreign';
}
