import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

import { z } from 'zod';

import { FleetError } from '../errors.js';
import { sha256Schema } from './sha256.js';

/** What devices take only with a signature: a build of an expert, the settings of a board, the agent's own program. */
export const RELEASE_KINDS = ['variant', 'board-config', 'agent'] as const;
export type ReleaseKind = (typeof RELEASE_KINDS)[number];

const LINE = /^[\x21-\x7e]+$/;
/** Ed25519 signatures have 64 bytes (RFC 8032), in base64url without padding. */
const SIGNATURE = /^[A-Za-z0-9_-]{86}$/;
const KEY_ID = /^[0-9a-f]{32}$/;

/** What a release key signs. */
export const releaseManifestSchema = z.object({
  kind: z.enum(RELEASE_KINDS),
  /** What it is a release of: releases of one kind and name follow each other. */
  name: z.string().max(127).regex(LINE, 'a release name is printable and without spaces'),
  /** Grows with every release of one name. Going back to former content is a new release with a greater number. */
  sequence: z.number().int().positive(),
  /** For people. */
  version: z.string().max(127).regex(LINE, 'a version is printable and without spaces'),
  sha256: sha256Schema,
  sizeBytes: z.number().int().positive(),
  createdAtMs: z.number().int().nonnegative(),
});
export type ReleaseManifest = z.infer<typeof releaseManifestSchema>;

export const signedReleaseSchema = z.object({
  manifest: releaseManifestSchema,
  /** Of the key that signed it: `releaseKeyId`. */
  keyId: z.string().regex(KEY_ID, 'a key id is 32 hexadecimal digits'),
  signature: z.string().regex(SIGNATURE, 'an ed25519 signature is 86 characters of base64url'),
});
export type SignedRelease = z.infer<typeof signedReleaseSchema>;

/** First half of the SHA-256 of a public key (SPKI, DER), in hexadecimal digits. */
export function releaseKeyId(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 32);
}

/** Signs with an ed25519 private key. */
export function signRelease(manifest: ReleaseManifest, privateKey: KeyObject): SignedRelease {
  const keyId = releaseKeyId(createPublicKey(privateKey));
  return { manifest, keyId, signature: sign(null, signedText(manifest), privateKey).toString('base64url') };
}

/**
 * Why a device must not take `release`; undefined: it may. `trusted`: ed25519 public keys; `accepted`: the greatest number
 * of this kind and name that the device has taken before.
 *
 * `release.untrusted`: signed with a key that is not trusted; `release.tampered`: not what its key signed;
 * `release.downgraded`: older than what was taken, which somebody who kept an old release may be replaying.
 */
export function checkRelease(
  release: SignedRelease,
  trusted: readonly KeyObject[],
  accepted: number | undefined,
): FleetError | undefined {
  const { manifest, keyId, signature } = release;
  const what = `release ${manifest.sequence} of ${manifest.kind} ${manifest.name}`;
  const key = trusted.find((candidate) => releaseKeyId(candidate) === keyId);
  if (key === undefined) {
    return new FleetError('release.untrusted', `${what} is signed with the key ${keyId}, which is not trusted here`, {
      hint: `trusted: ${trusted.map(releaseKeyId).join(', ') || 'none'}; sign it with one of them, or let the device join anew`,
    });
  }
  if (!verify(null, signedText(manifest), key, Buffer.from(signature, 'base64url'))) {
    return new FleetError('release.tampered', `${what} is not what the key ${keyId} signed`, {
      hint: 'fetch it again from where it was signed; somebody may have changed it on the way',
    });
  }
  if (accepted !== undefined && manifest.sequence < accepted) {
    return new FleetError('release.downgraded', `${what} is older than ${accepted}, which was taken before`, {
      hint: 'to go back to its content, sign that as a new release',
    });
  }
  return undefined;
}

/** One line a field, none of which can hold a line's end. The first keeps a signature from being taken for one of another kind. */
function signedText(manifest: ReleaseManifest): Buffer {
  const { kind, name, sequence, version, sha256, sizeBytes, createdAtMs } = manifest;
  const lines = ['fleetgate-release/1', kind, name, sequence, version, sha256, sizeBytes, createdAtMs];
  return Buffer.from(lines.join('\n'));
}
