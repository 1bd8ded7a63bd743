import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FrameScanner } from './frame-scanner.js';

const limits = { connectBytes: 40, publishBytes: 300, controlBytes: 20 };

/** A packet of `type` with `size` bytes after its header. */
function packet(type: number, size: number): Buffer {
  const length: number[] = [];
  let rest = size;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([type << 4, ...length]), Buffer.alloc(size, 0x5a)]);
}

/** What becomes of `stream` when it comes in `chunks`, the broker admitting as soon as the CONNECT is whole. */
function outcome(stream: Buffer, cuts: readonly number[]) {
  const scanner = new FrameScanner(limits);
  let packets = 0;
  let passed = 0;
  let from = 0;
  for (const cut of [...new Set([...cuts, stream.length])].sort((a, b) => a - b)) {
    let chunk = stream.subarray(from, cut);
    from = cut;
    while (chunk.length > 0) {
      const result = scanner.scan(chunk);
      packets += result.packets;
      passed += result.consumed;
      if (result.fault !== undefined) return { fault: result.fault, at: passed, packets };
      chunk = chunk.subarray(result.consumed);
      if (chunk.length > 0) scanner.admit();
    }
  }
  return { fault: undefined, at: passed, packets };
}

describe('frame scanner', () => {
  test.each([
    ['a CONNECT within its limit', packet(1, 40), undefined],
    ['a CONNECT above it', packet(1, 41), 'packet-too-large'],
    ['something else first', packet(3, 10), 'not-a-connect'],
    ['a CONNECT with flags', Buffer.from([0x11, 0]), 'not-a-connect'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'not-a-connect'],
    ['a PUBLISH within its limit', Buffer.concat([packet(1, 10), packet(3, 300)]), undefined],
    ['a PUBLISH above it', Buffer.concat([packet(1, 10), packet(3, 301)]), 'packet-too-large'],
    ['a SUBSCRIBE above it', Buffer.concat([packet(1, 10), packet(8, 21)]), 'packet-too-large'],
    ['a length of five bytes', Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x01]), 'malformed-length'],
    ['empty packets', Buffer.concat([packet(1, 10), packet(12, 0), packet(12, 0)]), undefined],
    ['256 MiB announced', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]), 'packet-too-large'],
  ])('%s', (_name, stream, fault) => {
    expect(outcome(stream, []).fault).toBe(fault);
  });

  test('nothing after the CONNECT is passed on until it is admitted', () => {
    const scanner = new FrameScanner(limits);
    const stream = Buffer.concat([packet(1, 10), packet(3, 10)]);
    expect(scanner.scan(stream)).toEqual({ consumed: 12, packets: 1, fault: undefined });
    expect(scanner.scan(stream.subarray(12))).toEqual({ consumed: 0, packets: 0, fault: undefined });
    scanner.admit();
    expect(scanner.scan(stream.subarray(12))).toEqual({ consumed: 12, packets: 1, fault: undefined });
  });

  test('however a stream is cut, the verdict is the same, at the same byte', () => {
    const streams = fc.oneof(
      fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
      fc
        .array(
          fc.tuple(
            fc.constantFrom(3, 8, 12, 14),
            fc.oneof(fc.integer({ min: 0, max: 22 }), fc.constantFrom(127, 128, 300, 301)),
          ),
          {
            maxLength: 6,
          },
        )
        .map((packets) => Buffer.concat([packet(1, 12), ...packets.map(([type, size]) => packet(type, size))])),
    );
    fc.assert(
      fc.property(streams, fc.array(fc.nat(400), { maxLength: 20 }), (stream, cuts) => {
        const whole = outcome(stream, []);
        const within = cuts.filter((cut) => cut < stream.length);
        expect(outcome(stream, within)).toEqual(whole);
        expect(
          outcome(
            stream,
            Array.from({ length: stream.length }, (_, at) => at),
          ),
        ).toEqual(whole);
      }),
      { numRuns: 500 },
    );
  });
});
