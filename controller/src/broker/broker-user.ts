import { createHash, timingSafeEqual } from 'node:crypto';

import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { BrokerRole } from './acl.js';
import type { PeerCertificate } from './peer-certificate.js';

/** One who may connect. The secret itself is never kept, only its digest. */
export interface BrokerUser {
  readonly username: string;
  /** Lower-case hex SHA-256 of the secret. Enough for random secrets; it would not be for chosen passwords. */
  readonly secretSha256: string;
  /** The same secret as mosquitto's password file holds it; missing for a device enrolled before it was kept. */
  readonly mosquittoDigest?: string;
  readonly role: BrokerRole;
  /** By which it is let in over TLS; any other is refused, whoever has signed it. */
  readonly certificates?: readonly UserCertificate[];
}

export interface UserCertificate {
  readonly serial: string;
  readonly notAfterMs: number;
}

/** Digest of a secret as `BrokerUser.secretSha256` holds it. */
export const secretDigest = (secret: string | Uint8Array): string => createHash('sha256').update(secret).digest('hex');

const NO_SECRET = Buffer.alloc(32);

/** The user whose name and secret these are, or undefined. Takes as long for an unknown name as for a wrong secret. */
export function authenticate(
  users: ReadonlyMap<string, BrokerUser>,
  username: string | undefined,
  secret: Uint8Array | undefined,
): BrokerUser | undefined {
  const user = username === undefined ? undefined : users.get(username);
  const offered = createHash('sha256')
    .update(secret ?? NO_SECRET)
    .digest();
  const expected = Buffer.from(user?.secretSha256 ?? '', 'hex');
  const matches = timingSafeEqual(offered, expected.length === 32 ? expected : NO_SECRET);
  return matches && expected.length === 32 && secret !== undefined ? user : undefined;
}

/** The user whose certificate this is. The chain has been verified; whether it was revoked has not. */
export function certifiedUser(
  users: ReadonlyMap<string, BrokerUser>,
  { commonName, serial }: PeerCertificate,
  now: UnixMs,
): BrokerUser | undefined {
  const user = users.get(commonName);
  const known = user?.certificates?.find((certificate) => certificate.serial === serial);
  return known !== undefined && known.notAfterMs > now ? user : undefined;
}
