import { expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { HighsSolver } from './highs-solver.js';
import { route } from './route.js';

const LIMITS = { timeLimitS: 10, gap: 0, method: 'auto' } as const;
const solvers = { exact: new HighsSolver() };
const placement = [[0, 0, 1] as const, [0, 1, 1] as const];
const poweredOn = [[0, 1] as const];

it('leaves the power that is drawn anyway out of what requests may use', async () => {
  const fleet = smallFleet();
  // 1 W idle and 3 W for requests: one request/s of each variant, where four watts would let both classes have the large.
  const budgets = { ...fleet.budgets, powerW: 5, baseW: 1 };
  const plan = await route({ ...fleet, budgets }, { placement, poweredOn }, LIMITS, solvers);
  expect(plan.explanation).not.toEqual(expect.arrayContaining([expect.stringContaining('power:')]));
  expect(plan.objective).toBeCloseTo(700, 3);
});
