import { ManualClock } from '@fleetgate/shared/clock';
import { expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { HighsSolver } from './highs-solver.js';
import type { LinearSolver } from './solver.js';
import { WhatIf } from './what-if.js';

it('asks no solver for longer than is left of the time for all questions', async () => {
  const clock = new ManualClock();
  const exact = new HighsSolver();
  const started = clock.now();
  const asked: number[] = [];
  // Each mixed-integer program takes all the time that it is given, and finds nothing: then the optimiser is asked.
  const slow: LinearSolver = {
    name: 'slow',
    solve: async (_, { timeLimitS }) => {
      asked.push(timeLimitS);
      clock.advance(timeLimitS * 1000);
      return { status: 'timeout', bound: Infinity };
    },
    engine: () => exact.engine(),
    close: () => exact.close(),
  };
  const whatIf = new WhatIf({ solvers: { exact: slow }, clock, timeLimitS: 5, stepLimitS: 3 });
  const { problem } = referenceProblem('fleet-09-slo-tight');
  expect(await whatIf.best(problem, { mayFail: true })).toBeUndefined();
  expect(asked).toEqual([3, 2]);
  expect((clock.now() - started) / 1000).toBeLessThanOrEqual(5);
  expect(whatIf.isOver).toBe(true);
});
