import { Worker } from 'node:worker_threads';

import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import type { Projection } from '../gguf/slab-layout.js';
import type { SlabId } from '../slabs/cache-policy.js';
import type { ModelSource } from './disk-model-source.js';
import { KernelReadQueue, openKernelQueue } from './kernel-read-queue.js';
import type { ReadQueue, ReadRequest, SlabRead } from './read-queue.js';
import { createRing, RingProducer } from './read-ring.js';
import { SlabReadings } from './slab-readings.js';
import type { ReaderJob } from './worker-slab-reader.js';

export interface ReadOptions {
  readonly source: Pick<ModelSource, 'fd' | 'directFd' | 'path'>;
  /** Threads that read; `kernel`: none of ours where the kernel reads by itself (else `FALLBACK_THREADS`). */
  readonly threads: number | 'kernel';
  /** How long storage may stand still, with not one read finished, before the wait is given up. */
  readonly stallMs: number;
  /** Called about every second of a wait: slow storage is not a fault, and whoever watches should know. */
  readonly onWaiting?: ((wait: SlowWait) => void) | undefined;
  /** In place of the thread's own program. */
  readonly entry?: URL;
}

export interface SlowWait {
  readonly waitedMs: number;
  readonly bytesLeft: number;
}

/** A longer read is cut: so slow storage shows progress, and several threads share the work. */
export const CHUNK_BYTES = 1024 * 1024;
const TICK_MS = 1000;
/** Of a wait's weight with every later one. */
const FADING = 0.98;
const START_MS = 10_000;
/** Enough to keep flash busy. */
export const FALLBACK_THREADS = 2;

/** Reads slabs into memory by threads, for a thread that blocks while it waits. */
export class SlabReads {
  readonly #options: ReadOptions;
  readonly #ring: ReadQueue;
  readonly #workers: readonly Worker[];
  readonly #readings = new SlabReadings(CHUNK_BYTES);
  #dead: string | undefined;
  #isClosed = false;
  /** Waits of late, older ones fading: how long, and what was read meanwhile. */
  #recent = { bytes: 0, ms: 0 };
  waitMs = 0;

  private constructor(options: ReadOptions, ring: ReadQueue, workers: readonly Worker[]) {
    this.#options = options;
    this.#ring = ring;
    this.#workers = workers;
    for (const worker of workers) {
      worker.on('error', (error: Error) => this.#lose(error.message));
      worker.on('exit', () => this.#lose('it ended'));
      worker.unref();
    }
  }

  /** Starts the threads. Throws `engine.unavailable` when they do not come up. */
  static async open(options: ReadOptions): Promise<SlabReads> {
    if (options.threads === 'kernel') {
      const queue = await openKernelQueue(options.source.directFd);
      if (queue !== undefined) return new SlabReads(options, queue, []);
    }
    const ring = createRing();
    const job: ReaderJob = { ring, fd: options.source.fd, directFd: options.source.directFd };
    const entry = options.entry ?? processEntry(import.meta.url, './worker-slab-reader.js');
    const workers = Array.from(
      { length: options.threads === 'kernel' ? FALLBACK_THREADS : options.threads },
      () => new Worker(entry, { workerData: job, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 16 } }),
    );
    try {
      await Promise.all(workers.map(started));
    } catch (error) {
      await Promise.all(workers.map((worker) => worker.terminate()));
      throw error;
    }
    return new SlabReads(options, new RingProducer(ring), workers);
  }

  /** Whether a thread is gone; seen only when the event loop has had its turn. */
  get isLost(): boolean {
    return this.#dead !== undefined;
  }

  isReading(slab: SlabId): boolean {
    return this.#readings.isReading(slab);
  }

  /** How long storage takes for so many bytes, as it has been of late; NaN where that is unknown. */
  msFor(bytes: number): number {
    return (bytes * this.#recent.ms) / this.#recent.bytes;
  }

  /** Asked of storage, and not read yet. */
  get bytesLeft(): number {
    return this.#readings.bytesLeft;
  }

  /** Slabs read so far, or failed. */
  get finished(): number {
    return this.#readings.finished;
  }

  get hasFailures(): boolean {
    return this.#readings.hasFailures;
  }

  /** Slabs whose reading failed since this was last asked, with the error number. */
  takeFailures(): ReadonlyMap<SlabId, number> {
    return this.#readings.takeFailures();
  }

  /** Bytes read since this was last asked. */
  takeBytesRead(): number {
    const { bytesRead } = this.#readings;
    this.#readings.bytesRead = 0;
    return bytesRead;
  }

  /** Counts a slab as being read; each of these reads is to be `put`, when its place is there. */
  expect(slab: SlabId, reads: readonly SlabRead[]): void {
    this.#readings.expect(slab, reads);
  }

  /** Queues a read; it starts with `publish`, or at once where the queue is full. */
  put(slab: SlabId, read: SlabRead): void {
    for (const chunk of chunked(read)) {
      if (this.#ring.isFull) {
        this.publish();
        this.poll();
        this.#waitUntil(() => !this.#ring.isFull);
      }
      this.#readings.queued(this.#ring.put(chunk), { slab, projection: read.projection, bytes: chunk.bytes });
    }
  }

  publish(): void {
    this.#ring.publish();
  }

  /** Nothing more is put of these slabs: they fail, once what was put of them has ended. */
  giveUp(slabs: readonly SlabId[]): void {
    this.#readings.giveUp(slabs);
  }

  /**
   * Blocks until none of these slabs is being read; what is read of the projection `but` may still be under way then, unless
   * something else of the slab has failed. Throws `artefact.unavailable` (retryable) where storage stands still, and
   * `engine.crashed` where the threads are gone.
   */
  finish(slabs: readonly SlabId[], but?: Projection): void {
    this.poll();
    if (slabs.some((slab) => this.#readings.isAwaited(slab, but))) {
      this.#waitUntil(() => !slabs.some((slab) => this.#readings.isAwaited(slab, but)));
    }
  }

  /** Takes note of what is done. */
  poll(): void {
    this.#ring.collect((slot, result) => this.#readings.ended(slot, result));
  }

  /** Ends the threads, and waits for reads in flight: they write to memory that is soon another's. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ring.close();
    const until = performance.now() + this.#options.stallMs;
    while (this.#dead === undefined && this.#ring.isAtWork && performance.now() < until) {
      this.#ring.wait(this.#ring.done, 100);
    }
    if (this.#ring instanceof KernelReadQueue && !this.#ring.isAtWork) this.#ring.end();
  }

  /** 0 where the kernel reads by itself. */
  get threads(): number {
    return this.#workers.length;
  }

  #waitUntil(isDone: () => boolean): void {
    const before = this.#readings.bytesRead;
    const startedAt = performance.now();
    let [movedAt, toldAt] = [startedAt, startedAt];
    for (;;) {
      if (this.#dead !== undefined) throw this.#lost(this.#dead);
      const seen = this.#ring.done;
      this.poll();
      if (isDone()) break;
      this.#ring.wait(seen, Math.min(TICK_MS, this.#options.stallMs));
      const now = performance.now();
      if (this.#ring.done !== seen) movedAt = now;
      else if (now - movedAt >= this.#options.stallMs) throw this.#stalled(now - movedAt);
      if (now - toldAt < TICK_MS) continue;
      toldAt = now;
      this.#options.onWaiting?.({ waitedMs: now - startedAt, bytesLeft: this.#readings.bytesLeft });
    }
    const ms = performance.now() - startedAt;
    this.waitMs += ms;
    this.#recent = {
      bytes: FADING * this.#recent.bytes + this.#readings.bytesRead - before,
      ms: FADING * this.#recent.ms + ms,
    };
  }

  #lose(reason: string): void {
    if (!this.#isClosed) this.#dead ??= reason;
  }

  #lost(reason: string): FleetError {
    return new FleetError(
      'engine.crashed',
      `a thread that reads slabs of ${this.#options.source.path} is gone: ${reason}`,
      {
        hint: 'the engine has to be started anew',
        retryable: true,
      },
    );
  }

  #stalled(forMs: number): FleetError {
    const seconds = (forMs / 1000).toFixed(1);
    return new FleetError(
      'artefact.unavailable',
      `${this.#options.source.path}: storage has not moved for ${seconds} s, ${this.#readings.bytesLeft} bytes are waited for`,
      {
        hint: 'the medium may be failing or gone; the evaluation was given up and can be tried again',
        retryable: true,
      },
    );
  }
}

function chunked({ address, bytes, offset }: ReadRequest): ReadRequest[] {
  const count = Math.ceil(bytes / CHUNK_BYTES);
  return Array.from({ length: count }, (_, i) => ({
    address: address + i * CHUNK_BYTES,
    bytes: Math.min(CHUNK_BYTES, bytes - i * CHUNK_BYTES),
    offset: offset + i * CHUNK_BYTES,
  }));
}

async function started(worker: Worker): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (reason: string): void =>
      reject(new FleetError('engine.unavailable', `a thread that reads slabs does not start: ${reason}`));
    const timer = setTimeout(() => fail(`nothing heard for ${START_MS} ms`), START_MS);
    worker.once('message', () => {
      clearTimeout(timer);
      resolve();
    });
    worker.once('error', (error: Error) => {
      clearTimeout(timer);
      fail(error.message);
    });
  });
}
