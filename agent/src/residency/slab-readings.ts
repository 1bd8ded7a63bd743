import type { Projection } from '../gguf/slab-layout.js';
import type { SlabId } from '../slabs/cache-policy.js';
import { CUT_OFF, type SlabRead } from './read-queue.js';

interface Reading {
  left: number;
  /** Of `left`, those of each projection. */
  readonly leftOf: Map<Projection, number>;
  bytesLeft: number;
  failure: number | undefined;
}

/** A read as it is queued: a slab's longer reads are several of them. */
export interface ReadChunk {
  readonly slab: SlabId;
  readonly projection: Projection;
  readonly bytes: number;
}

const ECANCELED = 125;

/** Keeps account of what is being read of which slab, and how it ends. */
export class SlabReadings {
  readonly #chunkBytes: number;
  readonly #chunks = new Map<number, ReadChunk>();
  readonly #reading = new Map<SlabId, Reading>();
  readonly #failed = new Map<SlabId, number>();
  bytesRead = 0;
  /** Slabs read so far, or failed. */
  finished = 0;

  /** Reads are queued in chunks of so many bytes at most. */
  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
  }

  isReading(slab: SlabId): boolean {
    return this.#reading.has(slab);
  }

  /** Whether something of a slab but this projection is still to come; where a part has failed, whether anything is. */
  isAwaited(slab: SlabId, but: Projection | undefined): boolean {
    const reading = this.#reading.get(slab);
    if (reading === undefined || but === undefined || reading.failure !== undefined) return reading !== undefined;
    for (const [projection, left] of reading.leftOf) {
      if (left > 0 && projection !== but) return true;
    }
    return false;
  }

  get hasFailures(): boolean {
    return this.#failed.size > 0;
  }

  /** Slabs whose reading failed since this was last asked, with the error number. */
  takeFailures(): ReadonlyMap<SlabId, number> {
    const failures = new Map(this.#failed);
    this.#failed.clear();
    return failures;
  }

  get bytesLeft(): number {
    return [...this.#reading.values()].reduce((sum, { bytesLeft }) => sum + bytesLeft, 0);
  }

  /** A slab is being read from now on; all chunks of its reads are to be queued. */
  expect(slab: SlabId, reads: readonly SlabRead[]): void {
    const leftOf = new Map<Projection, number>();
    let [left, bytesLeft] = [0, 0];
    for (const { projection, bytes } of reads) {
      const chunks = Math.ceil(bytes / this.#chunkBytes);
      leftOf.set(projection, (leftOf.get(projection) ?? 0) + chunks);
      left += chunks;
      bytesLeft += bytes;
    }
    if (left > 0) this.#reading.set(slab, { left, leftOf, bytesLeft, failure: undefined });
  }

  queued(slot: number, chunk: ReadChunk): void {
    this.#chunks.set(slot, chunk);
  }

  /** Nothing more is queued of these slabs: they fail, once what was queued of them has ended. */
  giveUp(slabs: readonly SlabId[]): void {
    for (const slab of slabs) {
      const reading = this.#reading.get(slab);
      if (reading === undefined) continue;
      reading.left = [...this.#chunks.values()].filter((chunk) => chunk.slab === slab).length;
      reading.failure ??= -ECANCELED;
      if (reading.left === 0) this.#end(slab, reading);
    }
  }

  /** A chunk has ended: bytes read, or the negated error number. */
  ended(slot: number, result: number): void {
    const chunk = this.#chunks.get(slot);
    const reading = chunk === undefined ? undefined : this.#reading.get(chunk.slab);
    if (chunk === undefined || reading === undefined) return;
    this.#chunks.delete(slot);
    reading.left--;
    reading.leftOf.set(chunk.projection, (reading.leftOf.get(chunk.projection) ?? 0) - 1);
    reading.bytesLeft -= chunk.bytes;
    if (result === chunk.bytes) this.bytesRead += result;
    else reading.failure = result < 0 ? result : CUT_OFF;
    if (reading.left === 0) this.#end(chunk.slab, reading);
  }

  #end(slab: SlabId, { failure }: Reading): void {
    this.#reading.delete(slab);
    this.finished++;
    if (failure !== undefined) this.#failed.set(slab, failure);
  }
}
