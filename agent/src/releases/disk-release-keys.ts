import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

const PEM = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g;

/**
 * The ed25519 public keys in a PEM file, one after the other: whose releases this device takes. None without a file.
 * Throws `config.invalid` where it cannot be read, has no key, or one of another kind.
 */
export function readReleaseKeys(path: string | undefined): readonly KeyObject[] {
  if (path === undefined) return [];
  const invalid = (what: string, cause?: unknown): FleetError =>
    new FleetError('config.invalid', `release keys ${path}: ${what}`, {
      hint: 'it holds ed25519 public keys in PEM, as `openssl pkey -pubout` writes them',
      cause,
    });
  try {
    const keys = (readFileSync(path, 'utf8').match(PEM) ?? []).map((pem) => createPublicKey(pem));
    if (keys.length === 0) throw invalid('no public key in it');
    const other = keys.find(({ asymmetricKeyType }) => asymmetricKeyType !== 'ed25519');
    if (other !== undefined) throw invalid(`expected ed25519, got ${other.asymmetricKeyType}`);
    return keys;
  } catch (cause) {
    if (cause instanceof FleetError) throw cause;
    throw invalid(messageOf(cause), cause);
  }
}
