import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

import { processEntry } from '@fleetgate/shared/process-entry';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Libc, openLibc } from '../native/linux-libc.js';
import { ModelSource } from './disk-model-source.js';
import { CUT_OFF, type ReadRequest } from './read-queue.js';
import { CHUNK_BYTES, FALLBACK_THREADS, type ReadOptions, SlabReads } from './worker-slab-reads.js';

const EIO = 5;
const FILE_BYTES = 3 * CHUNK_BYTES;
const folder = mkdtempSync(join(tmpdir(), 'fleetgate-reads-'));
const path = join(folder, 'file');
const content = Buffer.from(Array.from({ length: FILE_BYTES }, (_, i) => (i * 7 + (i >> 12)) & 0xff));
let libc: Libc;
let source: ModelSource;
let at = 0;

beforeAll(async () => {
  libc = await openLibc();
  writeFileSync(path, content);
  source = ModelSource.open(path);
  at = libc.reserve(FILE_BYTES);
  libc.protect(at, FILE_BYTES, 'read-write');
});
afterAll(() => {
  source.close();
  rmSync(folder, { recursive: true });
});

async function readers(options: Partial<ReadOptions> = {}): Promise<SlabReads> {
  return SlabReads.open({ source, threads: 2, stallMs: 5000, ...options });
}

function start(reads: SlabReads, slab: number, parts: readonly ReadRequest[]): void {
  const all = parts.map((part) => ({ ...part, projection: 'up' as const }));
  reads.expect(slab, all);
  for (const part of all) reads.put(slab, part);
}

describe('SlabReads', () => {
  it('reads any pages of a file to where they are wanted, by any number of threads or the kernel', async () => {
    const page = libc.pageBytes;
    const pages = FILE_BYTES / page;
    const all = [await readers({ threads: 1 }), await readers({ threads: 3 }), await readers({ threads: 'kernel' })];
    const slab = fc.tuple(fc.nat(pages - 1), fc.integer({ min: 1, max: pages })).map(([first, count]) => ({
      offset: first * page,
      bytes: Math.min(count, pages - first) * page,
    }));
    fc.assert(
      fc.property(fc.array(slab, { minLength: 1, maxLength: 8 }), fc.constantFrom(...all), (slabs, reads) => {
        libc.drop(at, FILE_BYTES);
        for (const [id, { offset, bytes }] of slabs.entries())
          start(reads, id, [{ address: at + offset, bytes, offset }]);
        reads.publish();
        reads.finish(slabs.map((_, id) => id));
        expect([reads.takeFailures().size, slabs.some((_, id) => reads.isReading(id))]).toEqual([0, false]);
        for (const { offset, bytes } of slabs) {
          const out = Buffer.alloc(bytes);
          libc.copy(out, at + offset, bytes);
          expect(out.equals(content.subarray(offset, offset + bytes))).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
    for (const reads of all) reads.close();
  });

  it.each([
    ['past the kernel’s cache', undefined],
    ['through it, where the file system refuses the other', 'refused'],
  ])('reads %s', async (_, refused) => {
    // A descriptor of a pipe end or a folder refuses with another error; reading at an odd length refuses with this one.
    const bytes = refused === undefined ? libc.pageBytes : 1000;
    const reads = await readers();
    start(reads, 1, [{ address: at, bytes, offset: 0 }]);
    reads.publish();
    reads.finish([1]);
    expect([reads.takeBytesRead(), reads.takeFailures().size]).toEqual([bytes, 0]);
    reads.close();
  });

  it('reads by threads where the kernel does not read past its cache by itself', async () => {
    for (const directFd of [undefined, source.fd]) {
      const reads = await readers({ threads: 'kernel', source: { fd: source.fd, directFd, path } });
      if (directFd === undefined) expect(reads.threads).toBe(FALLBACK_THREADS);
      libc.drop(at, FILE_BYTES);
      start(reads, 1, [{ address: at, bytes: FILE_BYTES, offset: 0 }]);
      reads.publish();
      reads.finish([1]);
      const out = Buffer.alloc(FILE_BYTES);
      libc.copy(out, at, FILE_BYTES);
      expect(out.equals(content)).toBe(true);
      reads.close();
    }
  });

  it('tells of reads that fail, and of a file that is too short, by slab', async () => {
    const memory = openSync('/proc/self/mem', 'r');
    const broken = await readers({ source: { fd: memory, directFd: undefined, path: 'memory' } });
    start(broken, 3, [{ address: at, bytes: libc.pageBytes, offset: 0 }]);
    broken.publish();
    broken.finish([3]);
    expect([...broken.takeFailures()]).toEqual([[3, -EIO]]);
    broken.close();
    closeSync(memory);
    const reads = await readers();
    start(reads, 4, [{ address: at, bytes: 2 * libc.pageBytes, offset: FILE_BYTES - libc.pageBytes }]);
    start(reads, 5, [{ address: at, bytes: libc.pageBytes, offset: 0 }]);
    reads.publish();
    reads.finish([4, 5]);
    expect([...reads.takeFailures()]).toEqual([[4, CUT_OFF]]);
    reads.close();
  });

  it('gives up when storage stands still, and tells of the wait before', async () => {
    const told: number[] = [];
    const reads = await readers({
      threads: 0,
      stallMs: 1100,
      onWaiting: ({ bytesLeft }) => told.push(bytesLeft),
    });
    start(reads, 1, [{ address: at, bytes: libc.pageBytes, offset: 0 }]);
    reads.publish();
    const failure = { code: 'artefact.unavailable', retryable: true };
    expect(() => reads.finish([1])).toThrow(expect.objectContaining(failure));
    expect(told).toEqual([libc.pageBytes]);
    reads.close();
  });

  it('waits for storage that is slow, as long as it gets on', async () => {
    const [ring, native] = ['./read-ring.js', '../native/linux-libc.js'].map(
      (file) => pathToFileURL(processEntry(import.meta.url, file)).href,
    );
    const slow = `
      import { parentPort, workerData } from 'node:worker_threads';
      import { serveRing } from ${JSON.stringify(ring)};
      import { openLibc } from ${JSON.stringify(native)};
      const libc = await openLibc();
      const cell = new Int32Array(new SharedArrayBuffer(4));
      parentPort.postMessage('ready');
      serveRing(workerData.ring, ({ address, bytes, offset }) => {
        Atomics.wait(cell, 0, 0, 500);
        return libc.read(workerData.fd, address, bytes, offset);
      });`;
    const told: number[] = [];
    const reads = await readers({
      threads: 1,
      stallMs: 1200,
      entry: new URL(`data:text/javascript,${encodeURIComponent(slow)}`),
      onWaiting: ({ bytesLeft }) => told.push(bytesLeft),
    });
    libc.drop(at, FILE_BYTES);
    start(reads, 1, [{ address: at, bytes: FILE_BYTES, offset: 0 }]);
    reads.publish();
    reads.finish([1]);
    expect([reads.takeBytesRead(), reads.takeFailures().size]).toEqual([FILE_BYTES, 0]);
    expect(told[0]).toBeGreaterThan(0);
    const out = Buffer.alloc(FILE_BYTES);
    libc.copy(out, at, FILE_BYTES);
    expect(out.equals(content)).toBe(true);
    reads.close();
  });

  it('notices that its threads are gone', async () => {
    const source = `import { parentPort } from 'node:worker_threads'; parentPort.postMessage('ready');`;
    const reads = await readers({ entry: new URL(`data:text/javascript,${encodeURIComponent(source)}`) });
    const gone = expect.objectContaining({ code: 'engine.crashed' });
    start(reads, 1, [{ address: at, bytes: libc.pageBytes, offset: 0 }]);
    reads.publish();
    for (;;) {
      try {
        await setImmediate();
        reads.poll();
        if (reads.isLost) reads.finish([1]);
      } catch (error) {
        expect(error).toEqual(gone);
        break;
      }
    }
    reads.close();
  });

  it('does not start with a program that is not there', async () => {
    const entry = new URL('data:text/javascript,throw new Error("no program")');
    await expect(readers({ entry })).rejects.toThrow(expect.objectContaining({ code: 'engine.unavailable' }));
  });
});
