import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { claimDataDir } from '@fleetgate/shared/disk-data-dir';
import { isFleetError } from '@fleetgate/shared/errors';

describe('claimDataDir', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-dir-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const codeOf = (claim: () => unknown): string | undefined => {
    try {
      claim();
      return undefined;
    } catch (error) {
      return isFleetError(error) ? error.code : String(error);
    }
  };

  it('makes a missing folder, and can be claimed again once it was given back', () => {
    const path = join(folder, 'a', 'b');
    claimDataDir(path)();
    claimDataDir(path)();
  });

  it('refuses a folder that a living process holds', () => {
    writeFileSync(join(folder, 'lock'), String(process.ppid));
    expect(codeOf(() => claimDataDir(folder))).toBe('data-dir.in-use');
  });

  it('refuses a folder that this process holds, also by another way to it, until it is given back', () => {
    symlinkSync(folder, `${folder}-link`);
    try {
      const release = claimDataDir(folder);
      expect(codeOf(() => claimDataDir(`${folder}-link`))).toBe('data-dir.in-use');
      release();
      const again = claimDataDir(`${folder}-link`);
      release();
      expect(codeOf(() => claimDataDir(folder))).toBe('data-dir.in-use');
      again();
    } finally {
      rmSync(`${folder}-link`);
    }
  });

  it('takes over a lock with its own process id that it did not make: ids are reused', () => {
    writeFileSync(join(folder, 'lock'), String(process.pid));
    claimDataDir(folder)();
  });

  it.each(['2147480000', '', 'no number'])('takes over the lock %j of a process that is gone', (owner) => {
    writeFileSync(join(folder, 'lock'), owner);
    claimDataDir(folder)();
  });

  it('refuses a folder below one that cannot hold any', () => {
    expect(codeOf(() => claimDataDir('/proc/fleetgate'))).toBe('data-dir.not-writable');
  });

  it('refuses a path that cannot be a folder', () => {
    writeFileSync(join(folder, 'file'), '');
    expect(codeOf(() => claimDataDir(join(folder, 'file', 'below')))).toBe('data-dir.not-writable');
  });
});
