import type { Clock } from '@fleetgate/shared/clock';
import { isFleetError } from '@fleetgate/shared/errors';
import type { Telemetry } from '@fleetgate/shared/protocol/telemetry';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Batch } from './batch.js';

/** Between two batches of a backlog: at most 20 a second and device after an outage. */
const DRAIN_GAP = milliseconds(50);
const RETRY = milliseconds(2000);

/** Batches that wait, oldest first. */
export interface BatchBuffer {
  readonly isEmpty: boolean;
  push(batch: Batch): void;
  peek(): Batch | undefined;
  shift(): void;
}

/**
 * Sends buffered batches in order, one at a time.
 *
 * A batch gets its epoch and number when it is sent first and keeps them when it is sent again after a reconnect, so
 * that the receiver knows a second delivery.
 */
export class TelemetrySender {
  readonly #buffer: BatchBuffer;
  readonly #send: (telemetry: Telemetry) => Promise<void>;
  readonly #clock: Clock;
  #epoch: number | undefined;
  #seq = 0;
  #numberedIn = 0;
  #stamp: { readonly batch: Batch; readonly epoch: number; readonly seq: number } | undefined;
  #isSending = false;
  #cancelNext: (() => void) | undefined;

  constructor(buffer: BatchBuffer, send: (telemetry: Telemetry) => Promise<void>, clock: Clock) {
    this.#buffer = buffer;
    this.#send = send;
    this.#clock = clock;
  }

  push(batch: Batch): void {
    this.#buffer.push(batch);
    if (this.#cancelNext === undefined) this.#next();
  }

  /** A session with this epoch began; undefined: it ended. */
  onLink(epoch: number | undefined): void {
    this.#epoch = epoch;
    this.#cancelNext?.();
    this.#cancelNext = undefined;
    this.#next();
  }

  stop(): void {
    this.#epoch = undefined;
    this.#cancelNext?.();
  }

  #next(): void {
    const epoch = this.#epoch;
    if (epoch === undefined || this.#isSending) return;
    const batch = this.#buffer.peek();
    if (batch === undefined) return;
    this.#isSending = true;
    void this.#sendOne(batch, epoch).then((wait) => {
      this.#isSending = false;
      if (wait === undefined || this.#epoch === undefined) return;
      this.#cancelNext = this.#clock.after(wait, () => {
        this.#cancelNext = undefined;
        this.#next();
      });
    });
  }

  /** Resolves with the wait before the next batch; undefined when the next push starts it. */
  async #sendOne(batch: Batch, epoch: number) {
    if (this.#stamp?.batch !== batch) {
      if (this.#numberedIn !== epoch) this.#seq = 0;
      this.#numberedIn = epoch;
      this.#stamp = { batch, epoch, seq: this.#seq++ };
    }
    const { seq } = this.#stamp;
    const stamped = { v: PROTOCOL_VERSION, epoch: this.#stamp.epoch, seq, sentAtMs: this.#clock.now() } as const;
    try {
      await this.#send({ ...stamped, ...batch });
    } catch (error) {
      if (!isFleetError(error) || error.retryable) return RETRY;
    }
    this.#buffer.shift();
    return this.#buffer.isEmpty ? undefined : DRAIN_GAP;
  }
}
