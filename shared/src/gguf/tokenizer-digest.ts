import { createHash } from 'node:crypto';

import type { GgufEntry } from './header.js';

const PREFIX = 'tokenizer.ggml.';
/** Pads batches in training; no text becomes it. Converters differ in whether they write it. */
const MEANINGLESS: ReadonlySet<string> = new Set([`${PREFIX}padding_token_id`]);

/**
 * Digest (sha256) of all that a file says of how text becomes tokens and tokens text: kind, pre-tokeniser, tokens, merges,
 * scores, token types, special tokens and which of them are added. Equal digests mean that a token's number means the
 * same to both models. Undefined for a file without a vocabulary. `bytes` holds the header.
 *
 * Values are taken as they lie in the file: the same vocabulary written in another number type counts as another one.
 */
export function tokenizerDigest(bytes: Uint8Array, metadata: ReadonlyMap<string, GgufEntry>): string | undefined {
  if (!metadata.has(`${PREFIX}tokens`)) return undefined;
  const hash = createHash('sha256');
  for (const [key, { offset, byteLength }] of [...metadata].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!key.startsWith(PREFIX) || MEANINGLESS.has(key)) continue;
    hash.update(`${key}\0${byteLength}\0`).update(bytes.subarray(offset, offset + byteLength));
  }
  return hash.digest('hex');
}
