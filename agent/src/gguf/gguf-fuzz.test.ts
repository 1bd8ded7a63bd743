import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { FleetError } from '@fleetgate/shared/errors';
import { estimateMemory, modelFacts } from '@fleetgate/shared/gguf/facts';
import { parseGgufHeader } from '@fleetgate/shared/gguf/header';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encodeHeader } from './assembly.js';
import { pruning } from './prune.js';
import { slabLayout } from './slab-layout.js';
import { SYNTH_ARCHITECTURES } from './synth-architectures.js';
import { synthModel } from './synth.js';

/** Whatever a file says, one of these is said of it, or it is read. */
const CODES: ReadonlySet<string> = new Set(['gguf.malformed', 'gguf.unsupported', 'usage.invalid']);

/** Headers of whole files: of a trained mixture, and of one of each architecture. */
const CORPUS: readonly { readonly name: string; readonly header: Buffer; readonly fileBytes: number }[] = [
  ...Object.keys(SYNTH_ARCHITECTURES).map((architecture) => {
    const size = { layers: 2, slabsPerLayer: 8, slabsPerToken: 2, embedding: 64, slabWidth: 32, heads: 4 };
    const { metadata, tensors } = synthModel({ architecture, ...size, type: 'q8_0', seed: 1 });
    const sized = tensors.map((tensor) => {
      const elements = tensor.dimensions.reduce((product, length) => product * length, 1);
      const byteLength = (elements / tensor.type.blockElements) * tensor.type.blockBytes;
      return { ...tensor, pieces: [{ path: '', offset: 0, byteLength }] };
    });
    const header = Buffer.from(encodeHeader([], metadata, sized, 32));
    return { name: architecture, header, fileBytes: header.length + 10_000_000 };
  }),
  bundled(),
];

function bundled() {
  const file = readFileSync(fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url)));
  return { name: 'the bundled mixture', header: Buffer.from(file.subarray(0, 160_000)), fileBytes: file.length };
}

/** Everything that is done with a header before a byte of tensors is touched. */
function readAll(bytes: Buffer, fileBytes: number): void {
  const header = parseGgufHeader(bytes, fileBytes, 'fuzzed');
  if ('need' in header) {
    expect(header.need).toBeLessThanOrEqual(fileBytes);
    return;
  }
  modelFacts(header, 'fuzzed');
  expect(estimateMemory(header, 128, 2, 'fuzzed')).toBeGreaterThan(0);
  const layout = slabLayout(header, 'fuzzed');
  if (layout === undefined) return;
  const kept = Array.from({ length: Math.ceil(layout.slabsPerLayer / 2) }, (_, i) => 2 * i);
  const { tensors } = pruning(
    'fuzzed',
    header,
    layout,
    layout.layers.map(() => kept),
    { source: '', score: '', task: '' },
  );
  for (const { pieces } of tensors) {
    for (const { offset, byteLength } of pieces) {
      expect(offset).toBeGreaterThanOrEqual(0);
      expect(offset + byteLength).toBeLessThanOrEqual(header.expectedFileBytes);
    }
  }
}

function codeOf(read: () => void): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    if (error instanceof FleetError) return error.code;
    throw error;
  }
}

const EXTREMES = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n] as const;

describe.each(CORPUS)('a damaged header of $name', ({ header, fileBytes }) => {
  it('is whole before it is damaged', () => {
    expect(codeOf(() => readAll(header, fileBytes))).toBeUndefined();
  });

  it('is read or refused, whatever is changed in it', () => {
    const place = fc.nat(header.length - 9);
    const change = fc.oneof(
      fc.record({ at: place, byte: fc.integer({ min: 0, max: 255 }) }),
      fc.record({ at: place, value: fc.constantFrom(...EXTREMES) }),
      fc.record({ at: place, small: fc.integer({ min: 0, max: 40 }) }),
    );
    const cut = fc.option(fc.nat(header.length), { nil: header.length });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), cut, (changes, length) => {
        const bytes = Buffer.from(header.subarray(0, length));
        for (const one of changes) {
          if (one.at + 8 > bytes.length) continue;
          if ('byte' in one) bytes[one.at] = one.byte;
          else if ('value' in one) bytes.writeBigUInt64LE(one.value, one.at);
          else bytes.writeUInt32LE(one.small, one.at);
        }
        const code = codeOf(() => readAll(bytes, fileBytes));
        if (code !== undefined) expect(CODES).toContain(code);
      }),
      { numRuns: 60 },
    );
  });

  it('is read or refused where its counts and offsets lie', () => {
    // Tensor rows end the header: names, ranks, dimensions, types and offsets of all tensors.
    const place = fc.integer({ min: Math.max(0, header.length - 4000), max: header.length - 9 });
    fc.assert(
      fc.property(place, fc.constantFrom(...EXTREMES), (at, value) => {
        const bytes = Buffer.from(header);
        bytes.writeBigUInt64LE(value, at);
        const code = codeOf(() => readAll(bytes, fileBytes));
        if (code !== undefined) expect(CODES).toContain(code);
      }),
      { numRuns: 60 },
    );
  });
});
