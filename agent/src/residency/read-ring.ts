import type { ReadQueue, ReadRequest } from './read-queue.js';

/**
 * Reads handed from the thread that evaluates to those that read, through shared memory: the evaluating thread cannot
 * receive messages while it computes. One producer, any number of consumers; a bounded ring.
 *
 * A slot is filled by the producer before `head` passes it, claimed by one consumer through `tail`, and done when its
 * result is no longer `PENDING`.
 */
export interface SharedRing {
  readonly control: SharedArrayBuffer;
  readonly requests: SharedArrayBuffer;
  readonly results: SharedArrayBuffer;
}

/** A power of two. */
export const RING_SLOTS = 4096;
const FIELDS = 3;
const HEAD = 0;
const TAIL = 1;
const CLOSED = 2;
/** Counts slots done: what the producer waits on. */
const DONE = 3;
const CONTROL_WORDS = 16;
const PENDING = 0x7fff_ffff;
/** A result that the producer has seen. */
const TAKEN = 0x7fff_fffe;
/** A wait ends at times by itself: a wake-up that is lost costs this much, not everything. */
const NAP_MS = 1000;

export function createRing(): SharedRing {
  return {
    control: new SharedArrayBuffer(4 * CONTROL_WORDS),
    requests: new SharedArrayBuffer(8 * FIELDS * RING_SLOTS),
    results: new SharedArrayBuffer(4 * RING_SLOTS),
  };
}

/** The evaluating thread's end. Slots are taken back in order. */
export class RingProducer implements ReadQueue {
  readonly #control: Int32Array;
  readonly #requests: Float64Array;
  readonly #results: Int32Array;
  #head = 0;
  #oldest = 0;

  constructor(ring: SharedRing) {
    this.#control = new Int32Array(ring.control);
    this.#requests = new Float64Array(ring.requests);
    this.#results = new Int32Array(ring.results);
  }

  get isFull(): boolean {
    return ((this.#head - this.#oldest) | 0) >= RING_SLOTS;
  }

  get isEmpty(): boolean {
    return this.#head === this.#oldest;
  }

  /** Puts a read in; not seen before `publish`. Its slot number; only where the ring is not full. */
  put({ address, bytes, offset }: ReadRequest): number {
    const slot = this.#head & (RING_SLOTS - 1);
    this.#requests.set([address, bytes, offset], FIELDS * slot);
    Atomics.store(this.#results, slot, PENDING);
    this.#head = (this.#head + 1) | 0;
    return slot;
  }

  publish(): void {
    Atomics.store(this.#control, HEAD, this.#head);
    Atomics.notify(this.#control, HEAD);
  }

  /** Tells of every slot done since the last call: bytes read, or below 0 what went wrong. Takes slots back in order. */
  collect(onDone: (slot: number, result: number) => void): void {
    for (let at = this.#oldest; at !== this.#head; at = (at + 1) | 0) {
      const slot = at & (RING_SLOTS - 1);
      const result = Atomics.load(this.#results, slot);
      if (result === PENDING) continue;
      if (result !== TAKEN) {
        Atomics.store(this.#results, slot, TAKEN);
        onDone(slot, result);
      }
      if (at === this.#oldest) this.#oldest = (at + 1) | 0;
    }
  }

  /** Slots done so far; to be read before `collect`, and given to `wait`. */
  get done(): number {
    return Atomics.load(this.#control, DONE);
  }

  /** Blocks until more slots are done than `seen`, or for `ms`. */
  wait(seen: number, ms: number): void {
    Atomics.wait(this.#control, DONE, seen, ms);
  }

  /** Lets consumers finish what they have claimed, and no more. */
  close(): void {
    Atomics.store(this.#control, CLOSED, 1);
    Atomics.notify(this.#control, HEAD);
  }

  /** Whether a consumer is at work on a slot. Of use after `close`. */
  get isAtWork(): boolean {
    return Atomics.load(this.#control, TAIL) !== this.done;
  }
}

/** Serves reads until the ring is closed. `read` gives bytes read or, below 0, an error, and never throws. */
export function serveRing(ring: SharedRing, read: (request: ReadRequest) => number): void {
  const control = new Int32Array(ring.control);
  const requests = new Float64Array(ring.requests);
  const results = new Int32Array(ring.results);
  while (Atomics.load(control, CLOSED) === 0) {
    const tail = Atomics.load(control, TAIL);
    const head = Atomics.load(control, HEAD);
    if (tail === head) {
      Atomics.wait(control, HEAD, head, NAP_MS);
      continue;
    }
    if (Atomics.compareExchange(control, TAIL, tail, (tail + 1) | 0) !== tail) continue;
    const slot = tail & (RING_SLOTS - 1);
    const [address = 0, bytes = 0, offset = 0] = requests.subarray(FIELDS * slot, FIELDS * (slot + 1));
    Atomics.store(results, slot, read({ address, bytes, offset }));
    Atomics.add(control, DONE, 1);
    Atomics.notify(control, DONE);
  }
}
