import { createHash } from 'node:crypto';

import type { IdempotencyKey } from '../idempotent-requests.js';
import { invalid } from './invalid-field.js';

/** Printable ASCII. */
const KEY = /^[\x20-\x7e]{1,255}$/;

/** How the client calls its request, if it does. Throws `request.invalid`. */
export function idempotencyKeyOf(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): IdempotencyKey | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw invalid('Idempotency-Key', 'expected one header of 1 to 255 printable characters');
  }
  return { client: createHash('sha256').update(String(headers['authorization'])).digest('base64url'), key };
}
