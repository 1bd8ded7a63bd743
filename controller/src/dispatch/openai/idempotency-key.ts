import { createHash } from 'node:crypto';

import type { ActorView } from '@fleetgate/shared/api/access';

import type { IdempotencyKey } from '../idempotent-requests.js';
import { invalid } from './invalid-field.js';

/** Printable ASCII. */
const KEY = /^[\x20-\x7e]{1,255}$/;

/** How the client calls its request, if it does. Throws `request.invalid`. */
export function idempotencyKeyOf(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  actor: ActorView,
): IdempotencyKey | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw invalid('Idempotency-Key', 'expected one header of 1 to 255 printable characters');
  }
  return { client: clientOf(headers, actor), key };
}

/** Who has a key is told by it; of others, the text that they send in its place tells one from another. */
function clientOf(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  { kind, id }: ActorView,
): string {
  if (kind === 'key' || kind === 'owner-key') return `${kind} ${id ?? ''}`;
  const text = String(headers['authorization'] ?? headers['x-api-key']);
  return createHash('sha256').update(text).digest('base64url');
}
