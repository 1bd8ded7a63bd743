import { afterAll, describe, expect, it } from 'vitest';

import { fleetProblem } from '../bench/fleet-instances.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { verify } from '../optimiser/verify.js';
import { QuestionAnswers } from './placement-optimiser.js';

const exact = new HighsSolver();
afterAll(() => exact.close());

describe('a large fleet', () => {
  it('is planned again from its last plan when a device is lost, and the plan verifies', async () => {
    const shape = { variants: 8, classes: 6, kappa: 3, seed: 7, jitter: 'none', modes: false, sites: 0 } as const;
    const pools = fleetProblem({ ...shape, devices: 400 });
    // Every device an entry of its own.
    const owners = pools.devices.flatMap(({ count = 1 }, d) => Array.from({ length: count }, () => d));
    const problem = {
      ...pools,
      devices: owners.flatMap((d, i) => {
        const device = pools.devices[d];
        return device === undefined ? [] : [{ ...device, id: `device-${i}`, count: 1 }];
      }),
      arcs: owners.flatMap((d, i) => pools.arcs.filter((arc) => arc.d === d).map((arc) => ({ ...arc, d: i }))),
    };
    const answers = new QuestionAnswers({ exact });
    const limits = { timeLimitS: 20, method: 'auto', gap: 1e-3 } as const;
    const plan = await answers.answer({ kind: 'optimise', problem, limits });
    expect(plan.method).toBe('monotonic/highs');
    const lost = plan.poweredOn.at(-1)?.[0] ?? 0;
    const left = {
      ...problem,
      devices: problem.devices.filter((_, d) => d !== lost),
      arcs: problem.arcs.filter(({ d }) => d !== lost).map((arc) => ({ ...arc, d: arc.d > lost ? arc.d - 1 : arc.d })),
    };
    const replanned = await answers.answer({ kind: 'optimise', problem: left, limits });
    expect(replanned.method).toBe('warm');
    expect(replanned.gap).toBeLessThanOrEqual(1e-3);
    expect(verify(left, replanned)).toMatchObject({ ok: true, faults: [] });
    // Half of the demand is another problem: what the old catalogue is worth then has to be proven as well.
    const calm = { ...left, classes: left.classes.map((each) => ({ ...each, rate: each.rate / 2 })) };
    const again = await answers.answer({ kind: 'optimise', problem: calm, limits });
    expect(verify(calm, again)).toMatchObject({ ok: true, faults: [] });
  });
});
