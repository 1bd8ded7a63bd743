/** A thread that reads slabs into memory that another thread has made room in. It ends when the ring is closed. */
import { parentPort, workerData } from 'node:worker_threads';

import { openLibc } from '../native/linux-libc.js';
import { CUT_OFF } from './read-queue.js';
import { serveRing, type SharedRing } from './read-ring.js';

export interface ReaderJob {
  readonly ring: SharedRing;
  readonly fd: number;
  /** The same file, opened to be read past the kernel's cache; undefined where that cannot be. */
  readonly directFd: number | undefined;
}

const EINTR = 4;
const EINVAL = 22;

const { ring, fd, directFd } = workerData as ReaderJob;
const libc = await openLibc();
let direct = directFd;
parentPort?.postMessage('ready');
serveRing(ring, ({ address, bytes, offset }) => {
  let read = 0;
  while (read < bytes) {
    const got = libc.read(direct ?? fd, address + read, bytes - read, offset + read);
    if (got > 0) read += got;
    // Some file systems take the flag and refuse the reads.
    else if (got === -EINVAL && direct !== undefined) direct = undefined;
    else if (got !== -EINTR) return got === 0 ? CUT_OFF : got;
  }
  // The kernel's copy would take memory that is meant for slabs.
  if (direct === undefined) libc.forgetCached(fd, offset, bytes);
  return read;
});
