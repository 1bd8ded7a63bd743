import type { Projection } from '../gguf/slab-layout.js';

/** One read into this process's memory. */
export interface ReadRequest {
  readonly address: number;
  readonly bytes: number;
  readonly offset: number;
}

/** A read of a part of a slab. */
export interface SlabRead extends ReadRequest {
  readonly projection: Projection;
}

/** Reads that others carry out while the thread that put them in computes. Bounded. */
export interface ReadQueue {
  readonly isFull: boolean;
  /** Reads done so far (modulo 2^32); to be read before `collect`, and given to `wait`. */
  readonly done: number;
  /** Whether something is still written to memory. Of use after `close`. */
  readonly isAtWork: boolean;
  /** Puts a read in, to be started by `publish`. Its slot's number; only where the queue is not full. */
  put(request: ReadRequest): number;
  publish(): void;
  /** Tells of every slot done since the last call: bytes read, or below 0 what went wrong. */
  collect(onDone: (slot: number, result: number) => void): void;
  /** Blocks until more slots are done than `seen`, or for `ms`. */
  wait(seen: number, ms: number): void;
  /** Starts nothing more; what is under way may go on until `isAtWork` is false. */
  close(): void;
}

/** In place of bytes read: the file ended before they were there. */
export const CUT_OFF = -100_000;
