/** The few packets of MQTT 3.1.1 that a device sends, as bytes, and a reader of what comes back. */

const PUBLISH_QOS_1 = 0x32;
const RETAIN = 0x01;
/** Clean session, will at QoS 1, retained, with user name and password (MQTT 3.1.1, 3.1.2.3). */
const CONNECT_FLAGS = 0xee;

export interface Login {
  readonly user: string;
  readonly secret: string;
  readonly keepaliveS: number;
  readonly will: { readonly topic: string; readonly payload: Uint8Array };
}

export function connectFrame({ user, secret, keepaliveS, will }: Login): Buffer {
  const head = Buffer.concat([text('MQTT'), Buffer.from([4, CONNECT_FLAGS]), uint16(keepaliveS)]);
  return frame(0x10, [head, text(user), text(will.topic), bytes(will.payload), text(user), text(secret)]);
}

export function subscribeFrame(packetId: number, filters: readonly string[]): Buffer {
  return frame(0x82, [uint16(packetId), ...filters.flatMap((filter) => [text(filter), Buffer.from([1])])]);
}

/** At QoS 1. */
export function publishFrame(
  packetId: number,
  topic: string,
  payload: Uint8Array,
  retain: 'retain' | 'pass' = 'pass',
): Buffer {
  const flags = retain === 'retain' ? RETAIN : 0;
  return frame(PUBLISH_QOS_1 | flags, [text(topic), uint16(packetId), payload]);
}

export const acknowledgeFrame = (packetId: number): Buffer => frame(0x40, [uint16(packetId)]);
export const PING_FRAME = Buffer.from([0xc0, 0]);

export type Received =
  | { readonly kind: 'connected'; readonly code: number }
  | { readonly kind: 'acknowledged' | 'subscribed'; readonly packetId: number }
  | { readonly kind: 'published'; readonly topic: string; readonly packetId: number; readonly payload: Uint8Array }
  | { readonly kind: 'other' };

/** Cuts the byte stream of a broker into packets. It trusts the broker: this is no parser for the open network. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  read(chunk: Buffer): readonly Received[] {
    const all = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const received: Received[] = [];
    let at = 0;
    for (;;) {
      const end = endOf(all, at);
      if (end === undefined || end.end > all.length) break;
      received.push(parse(all[at] ?? 0, all.subarray(end.body, end.end)));
      at = end.end;
    }
    this.#rest = Buffer.from(all.subarray(at));
    return received;
  }
}

function endOf(all: Buffer, start: number): { readonly body: number; readonly end: number } | undefined {
  let length = 0;
  for (let at = start + 1, shift = 1; at < all.length; at++, shift *= 128) {
    const byte = all[at] ?? 0;
    length += (byte & 0x7f) * shift;
    if (byte < 0x80) return { body: at + 1, end: at + 1 + length };
  }
  return undefined;
}

function parse(first: number, body: Buffer): Received {
  switch (first >> 4) {
    case 2:
      return { kind: 'connected', code: body[1] ?? -1 };
    case 3: {
      const topicEnd = 2 + body.readUInt16BE(0);
      const topic = body.toString('utf8', 2, topicEnd);
      const hasId = (first & 0x06) !== 0;
      const packetId = hasId ? body.readUInt16BE(topicEnd) : 0;
      return { kind: 'published', topic, packetId, payload: body.subarray(hasId ? topicEnd + 2 : topicEnd) };
    }
    case 4:
      return { kind: 'acknowledged', packetId: body.readUInt16BE(0) };
    case 9:
      return { kind: 'subscribed', packetId: body.readUInt16BE(0) };
    default:
      return { kind: 'other' };
  }
}

function frame(first: number, parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = body.length; ;) {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? low | 0x80 : low);
    if (rest === 0) break;
  }
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function bytes(value: Uint8Array): Buffer {
  return Buffer.concat([uint16(value.length), value]);
}

function text(value: string): Buffer {
  return bytes(Buffer.from(value, 'utf8'));
}
