import { generateKeyPairSync } from 'node:crypto';

import { signRelease } from '@fleetgate/shared/catalogue/release';
import { variantId } from '@fleetgate/shared/ids';
import type { DesiredVariant } from '@fleetgate/shared/protocol/twin';
import { describe, expect, it } from 'vitest';

import { variantReleases } from './variant-releases.js';

const owner = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const SHA256 = 'a'.repeat(64);
const signed = (sequence: number, by = owner, more: { readonly name?: string; readonly sha256?: string } = {}) =>
  signRelease(
    { kind: 'variant', name: 'math-q8', sequence, version: '-', sha256: SHA256, sizeBytes: 1, createdAtMs: 0, ...more },
    by.privateKey,
  );
const desired = (release?: DesiredVariant['release']): DesiredVariant => ({
  variantId: variantId('math-q8'),
  purpose: 'serve',
  sha256: SHA256,
  sizeBytes: 1,
  contextTokens: 64,
  stop: [],
  ...(release === undefined ? {} : { release }),
});
const device = (keys = [owner.publicKey], signedOnly = false) => {
  const greatest = new Map<string, number>();
  return variantReleases(
    keys,
    {
      greatest: ({ name }) => greatest.get(name),
      accept: ({ name, sequence }) => void greatest.set(name, sequence),
    },
    signedOnly,
  );
};

describe('a device that is given a build of an expert', () => {
  it('takes it signed by whom it trusts, and nothing older afterwards', () => {
    const releases = device();
    expect(releases.refusal(desired(signed(2)))).toBeUndefined();
    releases.taken(desired(signed(2)));
    expect(releases.refusal(desired(signed(2)))).toBeUndefined();
    expect(releases.refusal(desired(signed(1)))?.code).toBe('release.downgraded');
  });

  it.each([
    ['by somebody else', signed(1, stranger), 'release.untrusted'],
    ['for another variant', signed(1, owner, { name: 'code-q8' }), 'release.tampered'],
    ['for another file', signed(1, owner, { sha256: 'b'.repeat(64) }), 'release.tampered'],
  ])('refuses it signed %s', (_, release, code) => {
    expect(device().refusal(desired(release))?.code).toBe(code);
  });

  it('takes it without a signature, unless it takes signed ones only', () => {
    expect(device().refusal(desired())).toBeUndefined();
    expect(device([owner.publicKey], true).refusal(desired())?.code).toBe('release.untrusted');
    expect(device([owner.publicKey], true).refusal(desired(signed(1)))).toBeUndefined();
    expect(device([], true).refusal(desired(signed(1)))?.code).toBe('release.untrusted');
  });

  it('does not go by signatures where nobody has told it whom to trust', () => {
    expect(device([]).refusal(desired(signed(1, stranger)))).toBeUndefined();
  });
});
