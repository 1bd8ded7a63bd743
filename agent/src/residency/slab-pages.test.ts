import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { SlabLayout } from '../gguf/slab-layout.js';
import { parseMaps } from './linux-mapping.js';
import { bytesBetween, slabPages } from './slab-pages.js';

const PAGE = 4096;

function layoutOf(offsets: readonly number[], stride: number, slabsPerLayer: number): SlabLayout {
  const layers = offsets.map((offset, layer) => ({
    layer,
    tensors: [{ name: `t${layer}`, projection: 'up' as const, offset, stride }],
  }));
  const slabsBytes = offsets.length * slabsPerLayer * stride;
  return {
    architecture: 'a',
    slabsPerLayer,
    slabsPerToken: 1,
    groups: 1,
    layers,
    slabBytes: stride,
    slabsBytes,
    otherBytes: 0,
  };
}

describe('slabPages', () => {
  it('takes whole pages of one slab each; they and what lies between make up the file', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9000 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 30_000 }),
        fc.integer({ min: 1, max: 6 }),
        (gaps, stride, slabs) => {
          let at = 0;
          const offsets = gaps.map((gap) => {
            const offset = at + gap;
            at = offset + slabs * stride;
            return offset;
          });
          const pages = slabPages(layoutOf(offsets, stride, slabs), PAGE);
          const file = new Uint8Array(at + 100);
          for (const [id, ranges] of pages.ranges.entries()) {
            const start = (offsets[Math.floor(id / slabs)] ?? 0) + (id % slabs) * stride;
            for (const { offset, bytes } of ranges) {
              expect([offset % PAGE, bytes % PAGE]).toEqual([0, 0]);
              expect(offset).toBeGreaterThanOrEqual(start);
              expect(offset + bytes).toBeLessThanOrEqual(start + stride);
              for (let i = offset; i < offset + bytes; i++) file[i] = (file[i] ?? 0) + 1;
            }
            const inside = ranges.reduce((sum, { bytes }) => sum + bytes, 0);
            expect(stride - inside).toBeLessThan(2 * PAGE);
            expect(inside).toBeLessThanOrEqual(pages.slabBytes[Math.floor(id / slabs)] ?? 0);
          }
          for (const { offset, bytes } of bytesBetween(pages.spans, file.length)) {
            for (let i = offset; i < offset + bytes; i++) file[i] = (file[i] ?? 0) + 1;
          }
          expect(file.every((count) => count === 1)).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('takes slabs that are pages wholly, in one span a tensor', () => {
    const pages = slabPages(layoutOf([PAGE, 10 * PAGE], 2 * PAGE, 3), PAGE);
    expect(pages.spans).toEqual([
      { offset: PAGE, bytes: 6 * PAGE },
      { offset: 10 * PAGE, bytes: 6 * PAGE },
    ]);
  });
});

describe('parseMaps', () => {
  it('finds the segments of one file, and takes together those that continue each other', () => {
    const text = [
      '7f0000000000-7f0000002000 r--s 00000000 07:00 12                 /models/a b.gguf',
      '7f0000002000-7f0000003000 r--s 00002000 07:00 12                 /models/a b.gguf',
      '7f0000004000-7f0000005000 r--s 00009000 07:00 12                 /models/a b.gguf',
      '7f0000006000-7f0000007000 rw-p 00000000 00:00 0',
      '7f0000008000-7f0000009000 r--s 00000000 07:00 13                 /models/a b.gguf.old',
    ].join('\n');
    const base = 0x7f0000000000;
    expect(parseMaps(text, '/models/a b.gguf')).toEqual([
      { start: base, end: base + 0x3000, offset: 0 },
      { start: base + 0x4000, end: base + 0x5000, offset: 0x9000 },
    ]);
  });
});
