import { describe, expect, test } from 'vitest';

import { crossValidate } from '../gating/cross-validate.js';
import { syntheticOutcomes } from '../gating/outcomes.fixture.js';
import type { Outcome } from '../gating/outcomes.js';
import { routingCalibration, routingFigures } from './routing-figures.js';

/** A model for everything and one for stories, which is cheaper. */
const outcomes: readonly Outcome[] = syntheticOutcomes(120).map(({ y, ...rest }) => ({
  ...rest,
  y: { 'all-9b': y['generalist'] ?? 0, 'tales-2b': y['story'] ?? 0 },
}));

describe('what predictions are worth on outcomes', () => {
  test('of two models: which prompts the strong one gains on, task by task', () => {
    const figures = routingFigures(outcomes, crossValidate(outcomes, 2, 1));
    expect(figures.map(({ part, metric }) => [part, metric])).toEqual([
      ['code', 'APGR'],
      ['math', 'APGR'],
      ['story', 'APGR'],
    ]);
    expect(figures.every(({ folds, baselineFolds }) => folds.length === 2 && baselineFolds.length === 2)).toBe(true);
  });

  test('of more: quality against cost, above mixing them at random', () => {
    const three = outcomes.map((one) => ({ ...one, y: { ...one.y, 'slow-70b': 0.5 } }));
    const predictions = crossValidate(three, 2, 1);
    const [figure, ...others] = routingFigures(three, predictions);
    expect(others).toEqual([]);
    expect(figure).toMatchObject({ part: '3 models', metric: 'AIQ' });
    expect(figure?.all).toBeGreaterThan(figure?.baseline ?? 1);
    const { ece, withinOneSd, normalisedError } = routingCalibration(three, predictions);
    expect(ece).toBeLessThan(0.05);
    expect(withinOneSd).toBeGreaterThan(0.4);
    expect(normalisedError).toBeCloseTo(1, 0);
  });
});
