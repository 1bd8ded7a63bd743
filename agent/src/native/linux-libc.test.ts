import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Libc, O_DIRECT, openLibc } from './linux-libc.js';

const EBADF = 9;
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-libc-'));
let libc: Libc;

beforeAll(async () => {
  libc = await openLibc();
});
afterAll(() => rmSync(folder, { recursive: true }));

function bytesAt(address: number, count: number): readonly number[] {
  const out = new Uint8Array(count);
  libc.copy(out, address, count);
  return [...out];
}

describe('the C library', () => {
  it('has the flag for direct reading of this architecture', () => {
    const known: Readonly<Record<string, number>> = {
      x64: 0o40000,
      arm64: 0o200000,
      riscv64: 0o40000,
      loong64: 0o40000,
    };
    expect(O_DIRECT).toBe(known[process.arch]);
  });

  it('maps a file over reserved space, its own memory over that, and reads into it', () => {
    const page = libc.pageBytes;
    const path = join(folder, 'three-pages');
    writeFileSync(path, Buffer.concat([1, 2, 3].map((value) => Buffer.alloc(page, value))));
    const fd = openSync(path, 'r');
    const at = libc.reserve(3 * page);
    libc.mapFile(at, 3 * page, fd, 0);
    expect(bytesAt(at + page, 2)).toEqual([2, 2]);
    expect(libc.residentPages(at, 3 * page)).toBe(3);
    expect(libc.willNeed(at, page)).toBe(true);

    libc.mapNothing(at + page, page);
    libc.protect(at + page, page, 'read-write');
    expect(bytesAt(at + page, 2)).toEqual([0, 0]);
    expect(bytesAt(at + 2 * page, 1)).toEqual([3]);
    expect(libc.read(fd, at + page, page, 2 * page)).toBe(page);
    expect(bytesAt(at + page, 2)).toEqual([3, 3]);
    libc.drop(at + page, page);
    expect(bytesAt(at + page, 2)).toEqual([0, 0]);
    expect(libc.read(fd, at + page, page, 3 * page)).toBe(0);
    closeSync(fd);
    expect(libc.read(fd, at + page, page, 0)).toBe(-EBADF);
    libc.unmap(at, 3 * page);
  });

  it('says which call failed, and on what', () => {
    const at = libc.reserve(libc.pageBytes);
    libc.unmap(at, libc.pageBytes);
    expect(() => libc.protect(at, libc.pageBytes, 'read')).toThrow(/mprotect of \d+ bytes at 0x[0-9a-f]+: error 12/);
  });
});
