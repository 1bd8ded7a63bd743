import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

import type { Clock } from '@fleetgate/shared/clock';

const BLOCK = 4 * 1024 * 1024;
const MOST_BYTES = 64 * 1024 * 1024;
const LONGEST_MS = 500;
/** Direct reads want addresses, offsets and lengths that are multiples of the page. */
const PAGE = 4096;

/**
 * Read speed of the disk under `path`, bytes per second, past the page cache; undefined where the file system cannot
 * read past it (a figure out of memory would be a lie) or the file is too small to tell. Reads at most 64 MiB, 0.5 s.
 */
export async function diskReadRate(path: string, clock: Clock): Promise<number | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
    try {
      const { size } = await file.stat();
      if (size < PAGE * 16) return undefined;
      const buffer = Buffer.allocUnsafeSlow(BLOCK + PAGE);
      const shift = await alignment(file, buffer);
      if (shift === undefined) return undefined;
      const startedAt = clock.now();
      let done = 0;
      // A small file is read over and over: the clock counts whole milliseconds.
      for (let at = 0; done < MOST_BYTES && clock.now() - startedAt < LONGEST_MS;) {
        const { bytesRead } = await file.read(buffer, shift, BLOCK, at);
        done += bytesRead;
        at = at + bytesRead >= size || bytesRead % PAGE !== 0 ? 0 : at + bytesRead;
      }
      const elapsedMs = clock.now() - startedAt;
      return elapsedMs > 0 ? (done * 1000) / elapsedMs : undefined;
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  }
}

/** Offset in `buffer` at which memory is page-aligned: JavaScript cannot see addresses, but the kernel says no to wrong ones. */
async function alignment(
  file: { read: (buffer: Buffer, offset: number, length: number, position: number) => Promise<unknown> },
  buffer: Buffer,
): Promise<number | undefined> {
  // Large buffers come from mmap, 16 bytes after a page's start: try that first.
  for (const shift of [PAGE - 16, ...Array.from({ length: PAGE / 16 }, (_, i) => i * 16)]) {
    try {
      await file.read(buffer, shift, PAGE, 0);
      return shift;
    } catch {
      continue;
    }
  }
  return undefined;
}
