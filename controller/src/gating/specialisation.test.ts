import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { specialisationOf } from './specialisation.js';

const classes = ['law', 'math', 'code'];

describe('how special experts are', () => {
  test('one of use at home only, one as good as the others everywhere, one in between', () => {
    const [specialist, generalist, middling] = specialisationOf({
      classes,
      experts: ['specialist', 'generalist', 'middling'],
      quality: [
        [0.9, 0.6, 0.3],
        [0, 0.6, 0.3],
        [0, 0.6, 0.6],
      ],
    });
    expect(specialist).toMatchObject({ expert: 'specialist', home: 'law', dsi: 1, cdtr: 0 });
    // Elsewhere it would have nothing.
    expect(specialist?.gg).toBeCloseTo(0.9, 12);
    expect(generalist?.dsi).toBeLessThan(0.3);
    expect(generalist?.cdtr).toBeGreaterThan(0.8);
    expect(middling?.dsi).toBeGreaterThan(generalist?.dsi ?? 1);
    expect(middling?.home).toBe('code');
  });

  test('an easy class makes nobody special', () => {
    const equal = specialisationOf({
      classes,
      experts: ['a', 'b'],
      quality: [
        [0.9, 0.9],
        [0.1, 0.1],
        [0, 0],
      ],
    });
    expect(equal.map(({ dsi, gg, cdtr }) => [dsi, gg, cdtr])).toEqual([
      [0, 0, 1],
      [0, 0, 1],
    ]);
  });

  test('takes what was measured, and says nothing of an expert that was measured on one class', () => {
    const found = specialisationOf({
      classes,
      experts: ['a', 'b'],
      quality: [[0.5, 0.5], [0.5], [undefined, undefined]],
    });
    expect(found.map(({ expert }) => expert)).toEqual(['a']);
    expect(specialisationOf({ classes: [], experts: ['a'], quality: [] })).toEqual([]);
  });

  test('keeps its ranges for any qualities', () => {
    const quality = fc.double({ min: 0, max: 1, noNaN: true });
    const matrix = fc.tuple(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 1, max: 5 })).chain(([k, n]) =>
      fc.array(fc.array(quality, { minLength: n, maxLength: n }), { minLength: k, maxLength: k }).map((rows) => ({
        classes: rows.map((_, at) => `class ${at}`),
        experts: Array.from({ length: n }, (_, at) => `expert ${at}`),
        quality: rows,
      })),
    );
    fc.assert(
      fc.property(matrix, (given) => {
        for (const { dsi, gg, cdtr } of specialisationOf(given)) {
          expect(dsi).toBeGreaterThanOrEqual(0);
          expect(dsi).toBeLessThanOrEqual(1);
          expect(gg).toBeGreaterThanOrEqual(0);
          expect(gg).toBeLessThanOrEqual(1 + 1e-12);
          expect(cdtr).toBeGreaterThanOrEqual(0);
          expect(cdtr).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
