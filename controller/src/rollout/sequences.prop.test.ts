/** How often the bounds are wrong at any time of a long look, over simulated sequences: no more often than they claim. */
import { SeededRandom } from '@fleetgate/shared/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { meanBounds, NO_VALUES, withValue } from './mean-sequence.js';
import { NO_OUTCOMES, shareBounds, withOutcome } from './share-sequence.js';

const ALPHA = 0.05;
const RUNS = 1000;
const LENGTH = 600;

const DRAWS: Readonly<Record<string, { readonly mean: number; readonly draw: (random: SeededRandom) => number }>> = {
  uniform: { mean: 0.5, draw: (random) => random.uniform() },
  // Most differences are nothing, some are not.
  'mostly zero': { mean: 0, draw: (random) => (random.uniform() < 0.7 ? 0 : random.uniform() - 0.5) },
  skewed: { mean: 1, draw: (random) => -Math.log(1 - random.uniform()) },
};

describe('bounds of a mean that one may look at whenever one likes', () => {
  it.each(Object.keys(DRAWS))('are wrong at any time no more often than they say: %s', (name) => {
    const { mean, draw } = DRAWS[name] ?? { mean: 0, draw: () => 0 };
    const random = new SeededRandom(7);
    let wrong = 0;
    for (let run = 0; run < RUNS; run++) {
      let sequence = NO_VALUES;
      let isWrong = false;
      for (let i = 0; i < LENGTH; i++) {
        sequence = withValue(sequence, draw(random));
        const { lower, upper } = meanBounds(sequence, ALPHA);
        isWrong ||= mean < lower || mean > upper;
      }
      if (isWrong) wrong += 1;
    }
    // Asymptotic: a little more than claimed is to be expected of skewed values.
    expect(wrong / RUNS).toBeLessThan(name === 'skewed' ? 2 * ALPHA : 1.2 * ALPHA);
  });

  it('find out a loss soon', () => {
    const random = new SeededRandom(3);
    let sequence = NO_VALUES;
    while (sequence.n < LENGTH && meanBounds(sequence, ALPHA).upper > -0.02) {
      sequence = withValue(sequence, -0.1 + 0.2 * (random.uniform() - 0.5));
    }
    expect(sequence.n).toBeLessThan(25);
  });

  it('are those of mean and spread, in whatever order values came', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 20, maxLength: 60 }), (values) => {
        const sequence = values.reduce(withValue, NO_VALUES);
        const backwards = values.toReversed().reduce(withValue, NO_VALUES);
        expect(sequence.mean).toBeCloseTo(backwards.mean, 9);
        expect(sequence.squares).toBeCloseTo(backwards.squares, 9);
        const { lower, upper } = meanBounds(sequence, ALPHA);
        expect(lower).toBeLessThanOrEqual(sequence.mean);
        expect(upper).toBeGreaterThanOrEqual(sequence.mean);
      }),
    );
  });
});

describe('bounds of a share', () => {
  it.each([0.01, 0.1, 0.5])('are wrong at any time no more often than they say: %s', (share) => {
    const random = new SeededRandom(11);
    let wrong = 0;
    for (let run = 0; run < RUNS; run++) {
      let sequence = NO_OUTCOMES;
      let isWrong = false;
      for (let i = 0; i < LENGTH; i++) {
        sequence = withOutcome(sequence, random.uniform() < share ? 1 : 0);
        const { lower, upper } = shareBounds(sequence, ALPHA);
        isWrong ||= share < lower || share > upper;
      }
      if (isWrong) wrong += 1;
    }
    expect(wrong / RUNS).toBeLessThanOrEqual(ALPHA);
  });

  it('claim nothing without outcomes, and tell failures from none within a hundred', () => {
    expect(shareBounds(NO_OUTCOMES, ALPHA)).toEqual({ lower: 0, upper: 1 });
    const of = (outcome: (i: number) => 0 | 1) =>
      Array.from({ length: 100 }, (_, i) => outcome(i)).reduce(withOutcome, NO_OUTCOMES);
    const fine = shareBounds(
      of(() => 0),
      ALPHA / 2,
    );
    const failing = shareBounds(
      of((i) => (i % 2 === 0 ? 1 : 0)),
      ALPHA / 2,
    );
    expect(failing.lower).toBeGreaterThan(fine.upper);
  });
});
