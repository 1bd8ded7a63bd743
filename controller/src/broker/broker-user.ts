import { createHash, timingSafeEqual } from 'node:crypto';

import type { BrokerRole } from './acl.js';

/** One who may connect. The secret itself is never kept, only its digest. */
export interface BrokerUser {
  readonly username: string;
  /** Lower-case hex SHA-256 of the secret. Enough for random secrets; it would not be for chosen passwords. */
  readonly secretSha256: string;
  /** The same secret as mosquitto's password file holds it; missing for a device enrolled before it was kept. */
  readonly mosquittoDigest?: string;
  readonly role: BrokerRole;
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
