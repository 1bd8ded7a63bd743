import { expect, it } from 'vitest';

import { fleetProblem } from '../bench/fleet-instances.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import { verify } from './verify.js';

const shape = {
  devices: 150,
  variants: 8,
  classes: 6,
  kappa: 3,
  seed: 3,
  jitter: 'like',
  modes: false,
  sites: 0,
} as const;

it.each([3, null])(
  'proves a plan for few kinds of work on many unlike devices, of at most %s variants',
  async (most) => {
    const fleet = fleetProblem(shape);
    const problem = { ...fleet, budgets: { ...fleet.budgets, maxVariants: most } };
    const plan = await optimise(problem, { timeLimitS: 20, gap: 1e-4, method: 'auto' }, { exact: new HighsSolver() });
    expect(verify(problem, plan).faults).toEqual([]);
    // Without what the devices themselves would do at the prices it is above 1e-3.
    expect(plan.gap).toBeLessThan(7e-4);
  },
);
