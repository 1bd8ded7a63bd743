import { Duplex } from 'node:stream';

import type { Clock } from '@fleetgate/shared/clock';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

import { type FrameFault, type FrameLimits, FrameScanner } from './frame-scanner.js';
import { type BucketLevel, type RateLimit, fullBucket, take } from './rate-limit.js';

export interface GuardLimits {
  readonly frames: FrameLimits;
  /** Packets and bytes a second that a client may send; it is slowed to this, not refused. */
  readonly packets: RateLimit;
  readonly bytes: RateLimit;
  /** A client so far above its rate that it would have to be held still for longer than this is cut. */
  readonly longestHold: Milliseconds;
  /** Bytes that may wait for a client to read them. */
  readonly outboundBytes: number;
  /** A client that reads nothing for this long while something waits for it is cut. */
  readonly stall: Milliseconds;
}

export type CutReason =
  | FrameFault
  | 'rate-exceeded'
  | 'outbound-overflow'
  | 'stalled'
  | 'superseded'
  | 'credentials-withdrawn'
  | 'certificate-expired';

/**
 * Stands between a client's socket and the broker, and keeps one client's misbehaviour its own problem.
 *
 * Inwards it lets only packets of permitted size through, at a permitted rate, and nothing but the CONNECT until
 * `admit()`. Outwards it always accepts: the broker waits for a full socket before it takes the sender's next packet,
 * so one stalled reader would otherwise hold up every sender. What waits is bounded, and a reader that lets it grow
 * past the bound, or stops reading, is cut.
 */
export class FrameGuard extends Duplex {
  readonly #socket: Duplex;
  readonly #clock: Clock;
  readonly #onCut: (reason: CutReason) => void;
  readonly #scanner: FrameScanner;
  #limits: GuardLimits;
  #packets: BucketLevel;
  #bytes: BucketLevel;
  #held: Buffer[] = [];
  #admitted = false;
  #wanted = false;
  #ended = false;
  #cancelHold: (() => void) | undefined;
  #cancelStall: (() => void) | undefined;
  #flushes = 0;

  constructor(options: { socket: Duplex; limits: GuardLimits; clock: Clock; onCut: (reason: CutReason) => void }) {
    super({ allowHalfOpen: false, writableHighWaterMark: options.limits.outboundBytes });
    this.#socket = options.socket;
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#onCut = options.onCut;
    this.#scanner = new FrameScanner(options.limits.frames);
    this.#packets = fullBucket(options.limits.packets, options.clock.now());
    this.#bytes = fullBucket(options.limits.bytes, options.clock.now());
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on('end', () => {
      this.#ended = true;
      if (this.#held.length === 0) this.push(null);
    });
    this.#socket.on('close', () => this.destroy());
    // A reset connection needs no report of its own: `close` follows.
    this.#socket.on('error', () => this.destroy());
    this.#socket.pause();
  }

  /** Lets everything after the CONNECT through, from now on under `limits`. */
  admit(limits: GuardLimits): void {
    if (this.#admitted || this.destroyed) return;
    this.#admitted = true;
    this.#limits = limits;
    this.#packets = fullBucket(limits.packets, this.#clock.now());
    this.#bytes = fullBucket(limits.bytes, this.#clock.now());
    this.#scanner.admit();
    const held = this.#held;
    this.#held = [];
    for (const chunk of held) this.#receive(chunk);
    if (this.#ended && this.#held.length === 0) this.push(null);
    this.#flow();
  }

  /** Ends the connection at once and says why. */
  cut(reason: CutReason): void {
    if (this.destroyed) return;
    this.#onCut(reason);
    this.destroy();
  }

  override _read(): void {
    this.#wanted = true;
    this.#flow();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send([{ chunk, encoding }]);
    done();
  }

  override _writev(
    chunks: readonly { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#send(chunks);
    done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#cancelHold?.();
    this.#cancelStall?.();
    this.#held = [];
    this.#socket.destroy();
    done(error);
  }

  #receive(chunk: Buffer): void {
    if (this.destroyed) return;
    if (this.#held.length > 0) {
      this.#held.push(chunk);
      return;
    }
    const { consumed, packets, fault } = this.#scanner.scan(chunk);
    if (fault !== undefined) {
      this.cut(fault);
      return;
    }
    if (consumed < chunk.length) this.#held.push(chunk.subarray(consumed));
    this.#charge(packets, consumed);
    if (this.destroyed || consumed === 0) return;
    if (!this.push(chunk.subarray(0, consumed))) this.#wanted = false;
    this.#flow();
  }

  #charge(packets: number, size: number): void {
    const now = this.#clock.now();
    const byPackets = take(this.#limits.packets, this.#packets, packets, now);
    const byBytes = take(this.#limits.bytes, this.#bytes, size, now);
    this.#packets = byPackets.level;
    this.#bytes = byBytes.level;
    const wait = milliseconds(Math.max(byPackets.wait, byBytes.wait));
    if (wait === 0) return;
    if (wait > this.#limits.longestHold) {
      this.cut('rate-exceeded');
      return;
    }
    this.#cancelHold?.();
    this.#cancelHold = this.#clock.after(wait, () => {
      this.#cancelHold = undefined;
      this.#flow();
    });
  }

  #flow(): void {
    if (this.destroyed) return;
    if (this.#wanted && this.#cancelHold === undefined && this.#held.length === 0) this.#socket.resume();
    else this.#socket.pause();
  }

  #send(chunks: readonly { chunk: Buffer; encoding: BufferEncoding }[]): void {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    socket.cork();
    for (const [index, { chunk, encoding }] of chunks.entries()) {
      if (index < chunks.length - 1) socket.write(chunk, encoding);
      else socket.write(chunk, encoding, () => (this.#flushes += 1));
    }
    socket.uncork();
    if (socket.writableLength > this.#limits.outboundBytes) this.cut('outbound-overflow');
    else if (socket.writableLength > 0) this.#watchForStall();
  }

  #watchForStall(): void {
    if (this.#cancelStall !== undefined) return;
    const flushes = this.#flushes;
    this.#cancelStall = this.#clock.after(this.#limits.stall, () => {
      this.#cancelStall = undefined;
      if (this.#socket.writableLength === 0) return;
      if (this.#flushes === flushes) this.cut('stalled');
      else this.#watchForStall();
    });
  }
}
