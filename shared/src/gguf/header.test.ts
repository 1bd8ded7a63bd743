import { readFileSync } from 'node:fs';

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FleetError } from '../errors.js';
import { type GgufHeader, parseGgufHeader } from './header.js';

const MOE = readFileSync(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const HEADER_BYTES = 97_539;

/** Builds headers byte by byte, so that every fault can be made on purpose. */
class Build {
  readonly #parts: Buffer[] = [];

  u32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.#parts.push(bytes);
    return this;
  }

  u64(value: number | bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    this.#parts.push(bytes);
    return this;
  }

  raw(bytes: Uint8Array | readonly number[] | string): this {
    this.#parts.push(typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes));
    return this;
  }

  text(value: string): this {
    return this.u64(Buffer.byteLength(value)).raw(value);
  }

  start(tensors: number | bigint, entries: number | bigint, version = 3): this {
    return this.raw('GGUF').u32(version).u64(tensors).u64(entries);
  }

  count(key: string, value: number): this {
    return this.text(key).u32(4).u32(value);
  }

  tensor(name: string, dimensions: readonly (number | bigint)[], type = 0, offset: number | bigint = 0): this {
    this.text(name).u32(dimensions.length);
    for (const size of dimensions) this.u64(size);
    return this.u32(type).u64(offset);
  }

  bytes(length = 0): Buffer {
    const all = Buffer.concat(this.#parts);
    return Buffer.concat([all, Buffer.alloc(Math.max(0, length - all.length))]);
  }
}

const parse = (bytes: Uint8Array, fileBytes = bytes.length) => parseGgufHeader(bytes, fileBytes, 'a.gguf');

/** Runs the parser as a reader would and answers what comes out; anything but a FleetError fails the test. */
function outcome(bytes: Uint8Array, fileBytes = bytes.length): GgufHeader | FleetError | { readonly need: number } {
  try {
    return parse(bytes, fileBytes);
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    expect(error.code).toMatch(/^gguf\.(malformed|unsupported)$/);
    expect(error.message).toMatch(/^a\.gguf: /);
    expect(error.message.length).toBeLessThan(400);
    return error;
  }
}

const faultOf = (bytes: Uint8Array): string => {
  const result = outcome(bytes);
  return result instanceof FleetError ? `${result.code} ${result.message}` : 'no fault';
};

describe('parseGgufHeader', () => {
  it('reads the mixture-of-experts model of the bundle', () => {
    const header = parse(MOE) as GgufHeader;
    expect(header).toMatchObject({ version: 3, alignment: 32, headerBytes: HEADER_BYTES, dataOffset: 97_568 });
    expect(header.expectedFileBytes).toBe(MOE.length);
    expect(header.metadata.get('general.architecture')?.value).toBe('qwen3moe');
    expect(header.metadata.get('tokenizer.ggml.tokens')?.value).toMatchObject({ elementType: 'string', length: 3072 });
    const slabs = header.tensors.find(({ name }) => name === 'blk.0.ffn_down_exps.weight');
    expect(slabs?.dimensions).toEqual([192, 128, 16]);
    expect(slabs?.type.name).toBe('Q8_0');
    expect(slabs?.byteLength).toBe((192 * 128 * 16 * 34) / 32);
    const { offset, byteLength } = header.metadata.get('general.architecture') ?? { offset: 0, byteLength: 0 };
    expect(MOE.subarray(offset + 8, offset + byteLength).toString()).toBe('qwen3moe');
  });

  it('reads it from any part of the file, asking for more', () => {
    const whole = parse(MOE);
    let length = 1;
    let rounds = 0;
    for (;;) {
      const result = parse(MOE.subarray(0, length), MOE.length);
      if (!('need' in result)) {
        expect(result).toEqual(whole);
        break;
      }
      expect(result.need).toBeGreaterThan(length);
      length = Math.max(result.need, 2 * length);
      rounds++;
    }
    expect(rounds).toBeLessThan(20);
  });

  it('answers every length of a header with a request for more, never with a header', () => {
    for (let length = 0; length < HEADER_BYTES; length += length < 4000 ? 1 : 97) {
      const result = parse(MOE.subarray(0, length), MOE.length);
      expect('need' in result && result.need > length && result.need <= HEADER_BYTES).toBe(true);
    }
    expect('need' in parse(MOE.subarray(0, HEADER_BYTES), MOE.length)).toBe(false);
  });

  it('calls a file that ends anywhere in its header malformed', () => {
    for (let length = 0; length < HEADER_BYTES; length += length < 4000 ? 1 : 97) {
      expect(outcome(MOE.subarray(0, length))).toMatchObject({ code: 'gguf.malformed' });
    }
  });

  it('survives any flipped bytes of a real header', () => {
    const flips = fc.array(fc.tuple(fc.nat(HEADER_BYTES - 1), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 8,
    });
    // Vocabulary fills most of the header: flip more often where the structure is.
    const structure = fc.array(fc.tuple(fc.nat(1500), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 3,
    });
    const header = MOE.subarray(0, HEADER_BYTES);
    fc.assert(
      fc.property(fc.oneof(flips, structure), (flips) => {
        const damaged = Buffer.from(header);
        for (const [at, mask] of flips) damaged[at] = (damaged[at] ?? 0) ^ mask;
        outcome(damaged, MOE.length);
      }),
      { numRuns: 400 },
    );
  });

  it('survives any bytes after a sound beginning', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(5), fc.nat(5), (noise, tensors, entries) => {
        outcome(noise);
        outcome(new Build().start(tensors, entries).raw(noise).bytes());
      }),
      { numRuns: 500 },
    );
  });

  it('reads version 2, and no other than 2 and 3', () => {
    expect(parse(new Build().start(0, 0, 2).bytes())).toMatchObject({ version: 2, tensors: [] });
    expect(faultOf(new Build().start(0, 0, 1).bytes())).toContain('expected GGUF version 2 or 3, got 1');
    expect(faultOf(new Build().start(0, 0, 4).bytes())).toContain('gguf.unsupported');
  });

  it('says what is wrong with the beginning', () => {
    expect(faultOf(Buffer.from('GGML0123456789012345678901'))).toContain('expected the letters GGUF');
    expect(faultOf(new Build().raw('GGUF').raw([0, 0, 0, 3]).bytes(24))).toContain('big-endian');
    expect(faultOf(Buffer.alloc(0))).toContain('the file ends at byte 0');
  });

  it('bounds every count by the bytes that are there', () => {
    const huge = 2n ** 63n;
    for (const [tensors, entries] of [
      [huge, 0],
      [0, huge],
      [1e9, 0],
      [0, 1e9],
    ] as const) {
      expect(faultOf(new Build().start(tensors, entries).bytes(1000))).toMatch(/at most \d+ fit/);
    }
    expect(faultOf(new Build().start(0, 1).u64(huge).bytes(1000))).toContain('length of a metadata key');
    const array = (type: number, length: number | bigint) =>
      new Build().start(0, 1).text('a').u32(9).u32(type).u64(length).bytes(1000);
    expect(faultOf(array(4, 2 ** 40))).toContain('length of "a"');
    expect(faultOf(array(8, huge))).toContain('length of "a"');
    expect(faultOf(array(9, 1))).toContain('array of arrays');
    expect(faultOf(array(77, 1))).toContain('type 77');
  });

  it('refuses an endless header before it is read', () => {
    const start = new Build()
      .start(0, 1)
      .text('a')
      .u32(9)
      .u32(0)
      .u64(2 ** 40)
      .bytes();
    expect(() => parse(start, 2 ** 41)).toThrow(expect.objectContaining({ code: 'gguf.unsupported' }));
  });

  it('refuses what occurs twice, overlaps or does not align', () => {
    expect(faultOf(new Build().start(0, 2).count('k', 1).count('k', 2).bytes())).toContain('"k" occurs twice');
    expect(faultOf(new Build().start(2, 0).tensor('t', [4]).tensor('t', [4], 0, 32).bytes(500))).toContain(
      'occurs twice',
    );
    expect(faultOf(new Build().start(2, 0).tensor('t', [16]).tensor('u', [4], 0, 32).bytes(500))).toContain('overlap');
    expect(faultOf(new Build().start(1, 0).tensor('t', [4], 0, 5).bytes(500))).toContain('multiple of 32');
    expect(faultOf(new Build().start(0, 1).count('general.alignment', 24).bytes())).toContain('power of two');
    expect(faultOf(new Build().start(0, 1).count('general.alignment', 0).bytes())).toContain('power of two');
    const aligned = new Build().start(1, 1).count('general.alignment', 4096).tensor('t', [4], 0, 4096).bytes(500);
    expect(parse(aligned)).toMatchObject({ dataOffset: 4096, expectedFileBytes: 4096 + 4096 + 16 });
  });

  it('refuses impossible tensors', () => {
    const tensor = (...parts: Parameters<Build['tensor']>) =>
      faultOf(
        new Build()
          .start(1, 0)
          .tensor(...parts)
          .bytes(500),
      );
    expect(tensor('t', [])).toContain('0 dimensions');
    expect(tensor('t', [1, 1, 1, 1, 1])).toContain('5 dimensions');
    expect(tensor('t', [0])).toContain('a dimension of 0');
    expect(tensor('t', [2n ** 63n])).toContain('a dimension of');
    expect(tensor('t', [2 ** 40, 2 ** 40])).toContain('cannot be F32');
    expect(tensor('t', [31], 8)).toContain('cannot be Q8_0');
    expect(tensor('t', [32], 99)).toContain('unknown type 99');
    expect(tensor('t', [32], 4)).toContain('gguf.unsupported');
    expect(tensor('t', [1], 0, 2n ** 63n)).toContain('offset');
  });

  it('reads every type of metadata', () => {
    const bytes = new Build()
      .start(0, 8)
      .text('i8')
      .u32(1)
      .raw([0xff])
      .text('u16')
      .u32(2)
      .raw([1, 2])
      .text('i16')
      .u32(3)
      .raw([0xfe, 0xff])
      .text('i32')
      .u32(5)
      .raw([0xfd, 0xff, 0xff, 0xff])
      .text('bool')
      .u32(7)
      .raw([1])
      .text('u64')
      .u32(10)
      .u64(2n ** 63n)
      .text('i64')
      .u32(11)
      .u64(2n ** 64n - 4n)
      .text('f64')
      .u32(12)
      .raw(Buffer.from(new Float64Array([1.5]).buffer))
      .bytes();
    const { metadata } = parse(bytes) as GgufHeader;
    expect([...metadata].map(([key, { value }]) => [key, value])).toEqual([
      ['i8', -1],
      ['u16', 513],
      ['i16', -2],
      ['i32', -3],
      ['bool', true],
      ['u64', 2n ** 63n],
      ['i64', -4],
      ['f64', 1.5],
    ]);
  });

  it('measures long arrays without keeping them', () => {
    const bytes = new Build().start(0, 1).text('a').u32(9).u32(4).u64(5000).bytes(21_000);
    const { metadata } = parse(bytes) as GgufHeader;
    expect(metadata.get('a')).toMatchObject({ value: { length: 5000, elements: undefined }, byteLength: 20_012 });
  });
});
