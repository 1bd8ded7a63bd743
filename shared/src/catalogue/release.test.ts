import { generateKeyPairSync } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { checkRelease, type ReleaseManifest, releaseKeyId, signedReleaseSchema, signRelease } from './release.js';

const owner = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const manifest: ReleaseManifest = {
  kind: 'agent',
  name: 'agent',
  sequence: 7,
  version: '1.4.0',
  sha256: 'a'.repeat(64),
  sizeBytes: 1234,
  createdAtMs: 1_790_000_000_000,
};
const release = signRelease(manifest, owner.privateKey);

describe('a signed release', () => {
  it('is taken from a trusted key, and again with the same number', () => {
    expect(signedReleaseSchema.parse(release)).toEqual(release);
    expect(checkRelease(release, [stranger.publicKey, owner.publicKey], undefined)).toBeUndefined();
    expect(checkRelease(release, [owner.publicKey], 7)).toBeUndefined();
  });

  it('is refused from a key that is not trusted, also under the name of one that is', () => {
    const foreign = signRelease(manifest, stranger.privateKey);
    expect(checkRelease(foreign, [owner.publicKey], undefined)?.code).toBe('release.untrusted');
    expect(checkRelease(foreign, [], undefined)?.code).toBe('release.untrusted');
    const posing = { ...foreign, keyId: releaseKeyId(owner.publicKey) };
    expect(checkRelease(posing, [owner.publicKey], undefined)?.code).toBe('release.tampered');
  });

  it('is refused when it is older than what was taken', () => {
    expect(checkRelease(release, [owner.publicKey], 8)?.code).toBe('release.downgraded');
  });

  it('is refused whichever field was changed', () => {
    const changes = fc.oneof(
      fc.constantFrom('variant', 'board-config').map((kind) => ({ kind }) as const),
      fc.stringMatching(/^[a-z]{1,20}$/).map((name) => ({ name })),
      fc.integer({ min: 1 }).map((sequence) => ({ sequence })),
      fc.stringMatching(/^[0-9.]{1,9}$/).map((version) => ({ version })),
      fc.stringMatching(/^[0-9a-f]{64}$/).map((sha256) => ({ sha256 })),
      fc.integer({ min: 1 }).map((sizeBytes) => ({ sizeBytes })),
      fc.nat().map((createdAtMs) => ({ createdAtMs })),
    );
    fc.assert(
      fc.property(changes, (change) => {
        const changed = { ...manifest, ...change };
        fc.pre(JSON.stringify(changed) !== JSON.stringify(manifest));
        const error = checkRelease({ ...release, manifest: changed }, [owner.publicKey], undefined);
        expect(error?.code).toBe('release.tampered');
      }),
    );
  });

  it('has no field that could hold a second line', () => {
    for (const field of ['name', 'version'] as const) {
      const forged = { ...release, manifest: { ...manifest, [field]: 'a\nb' } };
      expect(signedReleaseSchema.safeParse(forged).success).toBe(false);
    }
  });
});
