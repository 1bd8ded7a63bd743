// Before the library that wants it.
import 'reflect-metadata';

import { createHash, type webcrypto } from 'node:crypto';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { MOST_PEM_CHARACTERS } from '@fleetgate/shared/protocol/enrolment';
import { Pkcs10CertificateRequest } from '@peculiar/x509';

/** What is taken from a certificate signing request. Extensions it asks for are not: the authority sets them. */
export interface CertificateRequest {
  readonly commonName: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: ArrayBuffer;
  readonly keySha256: string;
}

/**
 * Reads a PKCS #10 request (PEM) and checks that who made it has the private key.
 *
 * Throws `enrol.bad-request`: no request, a key that is not ECDSA P-256, not exactly one common name, or a signature
 * that does not fit. Nothing else, whatever the text.
 */
export async function readCertificateRequest(pem: string): Promise<CertificateRequest> {
  if (pem.length > MOST_PEM_CHARACTERS) {
    throw refused(`it has ${pem.length} characters, expected at most ${MOST_PEM_CHARACTERS}`);
  }
  try {
    const request = new Pkcs10CertificateRequest(pem);
    const { publicKey } = request;
    if (!isP256(publicKey.algorithm)) throw refused('its key is not an ECDSA key on the curve P-256');
    const [commonName, ...others] = request.subjectName.getField('CN');
    if (commonName === undefined || others.length > 0) throw refused('it does not have exactly one common name');
    if (!(await request.verify())) throw refused('its signature does not fit its key');
    return { commonName, publicKey: publicKey.rawData, keySha256: keyDigest(publicKey.rawData) };
  } catch (error) {
    if (error instanceof FleetError) throw error;
    throw refused(messageOf(error), error);
  }
}

/** SHA-256 of a SubjectPublicKeyInfo (DER), lower-case hexadecimal. */
export function keyDigest(publicKey: ArrayBuffer | Uint8Array): string {
  return createHash('sha256')
    .update(publicKey instanceof Uint8Array ? publicKey : new Uint8Array(publicKey))
    .digest('hex');
}

function isP256(algorithm: webcrypto.Algorithm): boolean {
  return algorithm.name === 'ECDSA' && 'namedCurve' in algorithm && algorithm.namedCurve === 'P-256';
}

function refused(why: string, cause?: unknown): FleetError {
  return new FleetError('enrol.bad-request', `the certificate signing request cannot be used: ${why}`, {
    hint: 'send a PKCS #10 request (PEM) for an ECDSA P-256 key, signed by that key, with the device name as common name',
    cause,
  });
}
