import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { keptSlabs } from './kept-slabs.js';

describe('keptSlabs', () => {
  it('keeps what the tasks choose most, every task counting the same', () => {
    const counts = { math: [[90, 8, 2, 0]], code: [[0, 1, 3, 0]] };
    expect(keptSlabs(counts, ['math'], 2)).toEqual([[0, 1]]);
    expect(keptSlabs(counts, ['code'], 2)).toEqual([[1, 2]]);
    expect(keptSlabs(counts, ['math', 'code'], 2)).toEqual([[0, 2]]);
    expect(keptSlabs({ none: [[0, 0, 0]] }, ['none'], 2)).toEqual([[0, 1]]);
  });

  it('keeps in each layer as many as asked for, ascending, and with one more the same and one more', () => {
    const layer = fc.array(fc.nat(100), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(layer, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 7 }), (layers, keep) => {
        const kept = keptSlabs({ task: layers }, ['task'], keep);
        const more = keptSlabs({ task: layers }, ['task'], keep + 1);
        expect(kept).toHaveLength(layers.length);
        for (const [i, slabs] of kept.entries()) {
          expect(slabs).toHaveLength(keep);
          expect(slabs).toEqual([...slabs].sort((a, b) => a - b));
          expect(slabs.every((slab) => more[i]?.includes(slab))).toBe(true);
        }
      }),
    );
  });
});
