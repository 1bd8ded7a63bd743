import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

const BLOCK = 4 * 1024 * 1024;
const MOST_BYTES = 64 * 1024 * 1024;
const LONGEST_MS = 500;
/** Direct reads want addresses, offsets and lengths that are multiples of the page. */
const PAGE = 4096;

/**
 * Read speed of the disk under `path`, bytes per second, past the page cache; undefined where the file system cannot
 * read past it (a figure out of memory would be a lie) or the file is too small to tell. Reads at most 64 MiB, 0.5 s.
 */
export async function diskReadRate(path: string): Promise<number | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
    try {
      const { size } = await file.stat();
      if (size < PAGE * 16) return undefined;
      const buffer = Buffer.allocUnsafeSlow(BLOCK + PAGE);
      const shift = await alignment(file, buffer);
      if (shift === undefined) return undefined;
      const startedAt = performance.now();
      let done = 0;
      while (done < Math.min(size, MOST_BYTES) && performance.now() - startedAt < LONGEST_MS) {
        const { bytesRead } = await file.read(buffer, shift, BLOCK, done);
        if (bytesRead === 0) break;
        done += bytesRead;
        if (bytesRead % PAGE !== 0) break;
      }
      const seconds = (performance.now() - startedAt) / 1000;
      return done > 0 && seconds > 0 ? done / seconds : undefined;
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
