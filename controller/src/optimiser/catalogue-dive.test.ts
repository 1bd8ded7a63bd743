import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { diveToCatalogue } from './catalogue-dive.js';
import { buildExactModel } from './exact-model.js';
import { HighsSolver } from './highs-solver.js';

describe('a dive from a fractional point', () => {
  it('ends at a catalogue that the program has room for, and leaves the session as it was', async () => {
    const engine = await new HighsSolver().engine();
    let fractional = 0;
    fc.assert(
      fc.property(tinyFeaturedProblem, (problem) => {
        const most = problem.budgets.maxVariants;
        if (most === null) return;
        const model = buildExactModel(problem, { projected: true });
        const session = engine.open(model.program);
        try {
          const before = session.solve(10);
          if (before.status !== 'optimal') return;
          const isPart = (column: number) => column >= 0 && Math.abs((before.point[column] ?? 0) - 0.5) < 0.499;
          if ([...model.catalogue].some(isPart)) fractional++;
          const catalogue = diveToCatalogue(model, session, before.point, () => 10);
          expect(catalogue?.length ?? 0).toBeLessThanOrEqual(most);
          const after = session.solve(10);
          if (after.status !== 'optimal') throw new Error(after.status);
          expect(after.objective).toBeCloseTo(before.objective, 6);
          if (catalogue === undefined) return;
          const kept = [...model.catalogue].flatMap((column, v) =>
            column < 0 || catalogue.includes(v) ? [] : [{ column, lower: 0, upper: 0 }],
          );
          session.restrict(kept);
          expect(session.solve(10).status).toBe('optimal');
        } finally {
          session.close();
        }
      }),
      { numRuns: 150, seed: 20261126 },
    );
    expect(fractional).toBeGreaterThan(5);
  });

  it('has no answer when time is over', async () => {
    const engine = await new HighsSolver().engine();
    const [problem] = fc.sample(
      tinyFeaturedProblem.filter(({ budgets }) => budgets.maxVariants !== null),
      { numRuns: 1, seed: 1 },
    );
    if (problem === undefined) throw new Error('no problem');
    const model = buildExactModel(problem, { projected: true });
    const session = {
      ...engine.open(model.program),
      solve: () => ({ status: 'stopped' }) as const,
      restrict: () => {},
    };
    const half = model.program.cost.map(() => 0.5);
    expect(diveToCatalogue(model, session as never, half, () => 0)).toBeUndefined();
  });
});
