import { type AsyncReads, openAsyncReads } from '../native/linux-aio.js';
import { openLibc } from '../native/linux-libc.js';
import { CUT_OFF, type ReadQueue, type ReadRequest } from './read-queue.js';

const EAGAIN = 11;
const EINTR = 4;
const PROBE_MS = 5000;

/** Direct reads carried out by the kernel itself: no threads of ours, and none of their memory (17 MB each). */
export class KernelReadQueue implements ReadQueue {
  readonly #reads: AsyncReads;
  readonly #fd: number;
  readonly #free: number[];
  readonly #bytes: Float64Array;
  readonly #waiting: number[] = [];
  readonly #ended: (readonly [slot: number, result: number])[] = [];
  #underWay = 0;
  #isClosed = false;
  done = 0;

  /** `fd` opened for direct reading. */
  constructor(reads: AsyncReads, fd: number) {
    this.#reads = reads;
    this.#fd = fd;
    this.#free = Array.from({ length: reads.slots }, (_, slot) => slot);
    this.#bytes = new Float64Array(reads.slots);
  }

  get isFull(): boolean {
    return this.#free.length === 0;
  }

  get isAtWork(): boolean {
    return this.#underWay > 0;
  }

  put({ address, bytes, offset }: ReadRequest): number {
    const slot = this.#free.pop() ?? 0;
    this.#bytes[slot] = bytes;
    this.#reads.prepare(slot, { fd: this.#fd, address, bytes, offset });
    this.#waiting.push(slot);
    return slot;
  }

  publish(): void {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const started = this.#reads.submit(this.#waiting);
      if (started === -EAGAIN || started === -EINTR || started === 0) return;
      if (started > 0) {
        this.#waiting.splice(0, started);
        this.#underWay += started;
        continue;
      }
      const refused = this.#waiting.shift();
      if (refused !== undefined) this.#end(refused, started);
    }
  }

  collect(onDone: (slot: number, result: number) => void): void {
    this.#gather(0);
    for (const [slot, result] of this.#ended.splice(0)) {
      this.#free.push(slot);
      onDone(slot, result);
    }
    this.publish();
  }

  wait(seen: number, ms: number): void {
    if (this.done === seen) this.#gather(ms);
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Frees what the kernel holds for it; waits for what is under way. */
  end(): void {
    this.#reads.close();
  }

  #gather(ms: number): void {
    if (this.#underWay === 0) return;
    this.#reads.collect(ms, (slot, result) => {
      this.#underWay--;
      // A direct read gives less than was asked for only at the end of a file.
      this.#end(slot, result >= 0 && result < (this.#bytes[slot] ?? 0) ? CUT_OFF : result);
    });
  }

  #end(slot: number, result: number): void {
    this.#ended.push([slot, result]);
    this.done = (this.done + 1) | 0;
  }
}

/** Undefined where the kernel does not read by itself from this file. */
export async function openKernelQueue(fd: number | undefined): Promise<KernelReadQueue | undefined> {
  const reads = fd === undefined ? undefined : await openAsyncReads();
  if (fd === undefined || reads === undefined) return undefined;
  const libc = await openLibc();
  const scratch = libc.reserve(libc.pageBytes);
  libc.protect(scratch, libc.pageBytes, 'read-write');
  // Some file systems take the flag for direct reads and refuse them, some guards allow only some of the calls.
  const queue = new KernelReadQueue(reads, fd);
  let result = 0;
  queue.put({ address: scratch, bytes: libc.pageBytes, offset: 0 });
  queue.publish();
  queue.wait(0, PROBE_MS);
  queue.collect((_, got) => (result = got));
  if (result === libc.pageBytes) {
    libc.unmap(scratch, libc.pageBytes);
    return queue;
  }
  // What may still be written to stays mapped.
  if (!queue.isAtWork) queue.end();
  return undefined;
}
