import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { slabMaskOf, slabMaskSchema, slabsKept } from './slab-mask.js';

describe('a mask of slabs', () => {
  it('is a digit for every four slabs, the first one its highest bit', () => {
    expect(slabMaskOf([[0, 5], [3]], 6)).toEqual(['84', '10']);
    expect(slabsKept(['84', '10'])).toEqual([[0, 5], [3]]);
  });

  it('tells what it was made of', () => {
    const layers = fc
      .integer({ min: 1, max: 300 })
      .chain((slabs) =>
        fc.tuple(
          fc.constant(slabs),
          fc.array(fc.uniqueArray(fc.nat({ max: slabs - 1 })), { minLength: 1, maxLength: 5 }),
        ),
      );
    fc.assert(
      fc.property(layers, ([slabs, keep]) => {
        const sorted = keep.map((kept) => kept.toSorted((a, b) => a - b));
        expect(slabsKept(slabMaskSchema.parse(slabMaskOf(keep, slabs)))).toEqual(sorted);
      }),
    );
  });
});
