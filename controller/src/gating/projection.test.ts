import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { BLOCK, Projection } from './projection.js';

const weights = fc.integer({ min: -32_768, max: 32_767 });

describe('sums along many directions', () => {
  test('are those that plain loops give, in single precision', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }).chain((blocks) =>
          fc.integer({ min: 1, max: 30 }).chain((features) =>
            fc.record({
              width: fc.constant(blocks * BLOCK),
              directions: fc.array(weights, {
                minLength: features * blocks * BLOCK,
                maxLength: features * blocks * BLOCK,
              }),
              vector: fc.uniqueArray(
                fc.record({
                  index: fc.integer({ min: 0, max: features - 1 }),
                  value: fc.float({ min: -8, max: 8, noNaN: true }),
                }),
                { minLength: 1, selector: ({ index }) => index },
              ),
            }),
          ),
        ),
        ({ width, directions, vector }) => {
          const projection = new Projection(Int16Array.from(directions), width);
          // Whatever was projected before leaves no trace.
          for (let round = 0; round < 2; round++) {
            vector.forEach(({ index, value }, at) => {
              projection.indices[at] = index;
              projection.values[at] = value;
            });
            projection.project(vector.length);
            const expected = Array.from({ length: width }, (_, column) =>
              vector.reduce(
                (sum, { index, value }) =>
                  Math.fround(sum + Math.fround(value * (directions[index * width + column] ?? 0))),
                0,
              ),
            );
            // 0 and -0 are the same sum.
            expect([...projection.sums].map((sum) => sum + 0)).toEqual(expected.map((sum) => sum + 0));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('of a vocabulary that is larger than a page of memory', () => {
    const [width, features] = [80, 25_000];
    const directions = Int16Array.from({ length: width * features }, (_, cell) => cell % 1000);
    const projection = new Projection(directions, width);
    projection.indices[0] = features - 1;
    projection.values[0] = 2;
    projection.project(1);
    expect(projection.sums[width - 1]).toBe(2 * ((width * features - 1) % 1000));
  });
});
