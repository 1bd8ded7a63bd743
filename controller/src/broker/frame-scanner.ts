/** Largest remaining length of a packet, bytes, by what it is. */
export interface FrameLimits {
  /** The first packet, which must be a CONNECT: read before we know who is there. */
  readonly connectBytes: number;
  readonly publishBytes: number;
  /** Every other packet: subscriptions, acknowledgements, pings. */
  readonly controlBytes: number;
}

export type FrameFault = 'not-a-connect' | 'malformed-length' | 'packet-too-large';

const CONNECT = 1;
const PUBLISH = 3;
const MAX_LENGTH_BYTES = 4;

/**
 * Follows the fixed headers of an MQTT byte stream, looking at no more than packet type and remaining length.
 *
 * The verdict does not depend on how the stream is cut into chunks. After the first packet the scanner stops
 * (`consumed` is short of the chunk) until `admit()`: nothing of an unknown sender is passed on beyond its CONNECT.
 */
export class FrameScanner {
  readonly #limits: FrameLimits;
  #phase: 'type' | 'length' | 'body' = 'type';
  #first: 'pending' | 'passed' | 'admitted' = 'pending';
  #packetType = 0;
  #remaining = 0;
  #lengthBytes = 0;

  constructor(limits: FrameLimits) {
    this.#limits = limits;
  }

  admit(): void {
    this.#first = 'admitted';
  }

  /** Reads `chunk` from its start. `packets` counts headers completed in it. After a fault the stream must be cut. */
  scan(chunk: Uint8Array): {
    readonly consumed: number;
    readonly packets: number;
    readonly fault: FrameFault | undefined;
  } {
    let at = 0;
    let packets = 0;
    while (at < chunk.length) {
      if (this.#phase === 'body') {
        const step = Math.min(this.#remaining, chunk.length - at);
        at += step;
        this.#remaining -= step;
        if (this.#remaining === 0) this.#endPacket();
        continue;
      }
      if (this.#first === 'passed') break;
      const byte = chunk[at++] ?? 0;
      if (this.#phase === 'type') {
        this.#packetType = byte >> 4;
        if (this.#first === 'pending' && byte !== CONNECT << 4)
          return { consumed: at, packets, fault: 'not-a-connect' };
        this.#phase = 'length';
        this.#remaining = 0;
        this.#lengthBytes = 0;
        continue;
      }
      this.#remaining += (byte & 0x7f) * 2 ** (7 * this.#lengthBytes);
      this.#lengthBytes += 1;
      if (byte >= 0x80) {
        if (this.#lengthBytes === MAX_LENGTH_BYTES) return { consumed: at, packets, fault: 'malformed-length' };
        continue;
      }
      packets += 1;
      if (this.#remaining > this.#limit()) return { consumed: at, packets, fault: 'packet-too-large' };
      this.#phase = 'body';
      if (this.#remaining === 0) this.#endPacket();
    }
    return { consumed: at, packets, fault: undefined };
  }

  #endPacket(): void {
    this.#phase = 'type';
    if (this.#first === 'pending') this.#first = 'passed';
  }

  #limit(): number {
    if (this.#first === 'pending') return this.#limits.connectBytes;
    return this.#packetType === PUBLISH ? this.#limits.publishBytes : this.#limits.controlBytes;
  }
}
