import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { releaseKeyId } from '@fleetgate/shared/catalogue/release';

import { diskAcceptedReleases } from './disk-accepted-releases.js';
import { readReleaseKeys } from './disk-release-keys.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-releases-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const pemOf = (type: 'ed25519' | 'x25519'): string =>
  generateKeyPairSync(type as 'ed25519').publicKey.export({ type: 'spki', format: 'pem' }) as string;

describe('the keys whose releases a device takes', () => {
  it('are all in one file, with whatever else is said there', () => {
    const keys = [pemOf('ed25519'), pemOf('ed25519')];
    writeFileSync(join(folder, 'keys.pem'), `of the office\n${keys[0]}\nof the plant\n${keys[1]}`);
    expect(new Set(readReleaseKeys(join(folder, 'keys.pem')).map(releaseKeyId)).size).toBe(2);
    expect(readReleaseKeys(undefined)).toEqual([]);
  });

  it.each([
    ['no key', 'hello', /no public key/],
    ['a key of another kind', pemOf('x25519'), /expected ed25519, got x25519/],
    ['a damaged key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', /release keys/],
  ])('are not %s', (_, text, reason) => {
    writeFileSync(join(folder, 'keys.pem'), text);
    expect(() => readReleaseKeys(join(folder, 'keys.pem'))).toThrow(reason);
    expect(() => readReleaseKeys(join(folder, 'none.pem'))).toThrow(
      expect.objectContaining({ code: 'config.invalid' }),
    );
  });
});

describe('what a device has taken', () => {
  const eco = { kind: 'board-config', name: 'eco' } as const;

  it('is known after a restart, and never less than it was', () => {
    diskAcceptedReleases(folder).accept({ ...eco, sequence: 7 });
    const accepted = diskAcceptedReleases(folder);
    accepted.accept({ ...eco, sequence: 3 });
    expect(diskAcceptedReleases(folder).greatest(eco)).toBe(7);
    expect(accepted.greatest({ kind: 'agent', name: 'eco' })).toBeUndefined();
  });

  it('is not guessed at when its file is damaged', () => {
    writeFileSync(join(folder, 'accepted-releases.json'), '{"board-config eco": "7"}');
    expect(() => diskAcceptedReleases(folder)).toThrow(expect.objectContaining({ code: 'store.corrupt' }));
  });
});
