import { createPublicKey, type KeyObject, sign } from 'node:crypto';

// DER, X.690. Tags of what a request is made of.
const INTEGER_ZERO = Buffer.from([0x02, 0x01, 0x00]);
const COMMON_NAME = Buffer.from('0603550403', 'hex');
const ECDSA_WITH_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex');
const SEQUENCE = 0x30;
const SET = 0x31;
const UTF8_STRING = 0x0c;
const BIT_STRING = 0x03;
const NO_ATTRIBUTES = Buffer.from([0xa0, 0x00]);

/**
 * A certificate signing request (PKCS #10, RFC 2986, PEM) that names `commonName`, signed by `key`, an ECDSA P-256 one.
 *
 * Written out here: a device makes nothing else of ASN.1, and a library for it takes 11 MB of its memory.
 */
export function certificateRequestPem(commonName: string, key: KeyObject): string {
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const attribute = element(SEQUENCE, COMMON_NAME, element(UTF8_STRING, Buffer.from(commonName)));
  const subject = element(SEQUENCE, element(SET, attribute));
  const asked = element(SEQUENCE, INTEGER_ZERO, subject, publicKey, NO_ATTRIBUTES);
  const signature = element(BIT_STRING, Buffer.from([0]), sign('sha256', asked, key));
  const base64 = element(SEQUENCE, asked, ECDSA_WITH_SHA256, signature).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE REQUEST-----', ...lines, '-----END CERTIFICATE REQUEST-----', ''].join('\n');
}

function element(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

/** Short form below 128, else the bytes of the length after their number. */
function lengthOf(size: number): Buffer {
  if (size < 0x80) return Buffer.from([size]);
  return size < 0x100 ? Buffer.from([0x81, size]) : Buffer.from([0x82, size >> 8, size & 0xff]);
}
