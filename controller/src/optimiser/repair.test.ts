import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem, tinyProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { applyRepair, changeText } from './bound-change.js';
import { findConflict } from './conflict.js';
import { HighsSolver } from './highs-solver.js';
import { JavascriptLpSolver } from './javascript-lp-solver.js';
import { optimise } from './optimise.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { findRepair } from './repair.js';

const LIMITS = { timeLimitS: 20, gap: 1e-9, method: 'milp' } as const;
const exact = new HighsSolver();
const tiny = new JavascriptLpSolver();

afterAll(async () => {
  await tiny.close();
});

const fleet = smallFleet();
/** Half of each class has to be served: 1 request/s in all, for at least 1 J each. No copies are asked for by themselves. */
const classes = fleet.classes.map((each) => ({ ...each, minReplicas: 0, minSites: 0 }));
const devices = (change: object) => fleet.devices.map((each) => ({ ...each, ...change }));
const sites = (change: object) => (fleet.sites ?? []).map((each) => ({ ...each, ...change }));

const repairOf = async (problem: PlacementProblem, ...groups: ConstraintGroup[]) => {
  const repair = await findRepair(problem, new Set(groups), exact, LIMITS);
  if (repair === undefined) throw new Error('no repair');
  const repaired = await optimise(applyRepair(problem, repair), LIMITS, { exact });
  expect(repaired.status).toBe('optimal');
  return repair.changes.map((change) => changeText(problem, change));
};
const conflictOf = async (problem: PlacementProblem) => (await findConflict(problem, exact, LIMITS)).groups;

describe('an infeasible fleet', () => {
  it('is repaired by a little more power at one site', async () => {
    const problem = smallFleet({ classes, sites: sites({ powerW: 1.4 }) });
    expect(await conflictOf(problem)).toEqual(['demand', 'sitepower']);
    // 1 W idle and 0.4 W for requests at one of them leave 0.6 W to the other.
    expect(await repairOf(problem, 'sitepower')).toEqual([
      expect.stringMatching(/^power of (north|south) 1.4 W -> 1.601 W$/),
    ]);
  });

  it('is repaired by a wider uplink', async () => {
    const problem = smallFleet({ classes, sites: sites({ networkBps: 400 }) });
    expect(await conflictOf(problem)).toEqual(['demand', 'network']);
    expect(await repairOf(problem, 'network')).toEqual([
      expect.stringMatching(/^uplink of (north|south) 400 bit\/s -> 600.1 bit\/s$/),
    ]);
  });

  it('is repaired by a larger battery', async () => {
    const problem = smallFleet({ classes, devices: devices({ battery_J: 1.4 * 3600 }) });
    expect(await conflictOf(problem)).toEqual(['demand', 'battery']);
    expect(await repairOf(problem, 'battery')).toEqual([
      expect.stringMatching(/^battery of (north|south)-1 5040 J -> 5761 J$/),
    ]);
  });

  it('is repaired by the least bound on the 95th percentile that lets a variant in', async () => {
    const tight = classes.map((each, k) => ({ ...each, sloP95_s: k === 0 ? 0.5 : 0.9 }));
    const problem = smallFleet({ classes: tight });
    expect(await conflictOf(problem)).toEqual(['demand', 'tail']);
    expect(await repairOf(problem, 'tail')).toEqual(['95th percentile of the latency of code 0.5 s -> 0.6001 s']);
  });

  it('moves a bound on the 95th percentile only where the other groups can not do without', async () => {
    const tight = classes.map((each) => ({ ...each, sloP95_s: 0.5, minServed: 0, minReplicas: 1 }));
    expect(await repairOf(smallFleet({ classes: tight }), 'tail', 'replicas')).toEqual([
      'replicas of code 1 -> 0',
      'replicas of law 1 -> 0',
    ]);
    const full = smallFleet({ classes: tight, budgets: { ...fleet.budgets, powerW: 0 } });
    expect(await repairOf(full, 'tail', 'power')).toEqual([
      'power budget 0 W -> 1.001 W',
      '95th percentile of the latency of code 0.5 s -> 0.6001 s',
      '95th percentile of the latency of law 0.5 s -> 0.6001 s',
    ]);
  });

  it('is repaired by a higher cap of one power mode', async () => {
    const modes = [
      { id: 'fast', idleW: 1, powerCapW: 1.4 },
      { id: 'slow', idleW: 1, powerCapW: 0.2 },
    ];
    const problem = smallFleet({ classes, devices: devices({ modes }) });
    expect(await repairOf(problem, 'devpower')).toEqual([
      expect.stringMatching(/^power cap of (north|south)-1 in mode fast 1.4 W -> 1.601 W$/),
    ]);
  });

  it('is repaired by fewer sites', async () => {
    const spread = classes.map((each) => ({ ...each, minSites: 3 }));
    expect(await repairOf(smallFleet({ classes: spread }), 'replicas')).toEqual([
      'sites of code 3 -> 2',
      'sites of law 3 -> 2',
    ]);
  });

  it('keeps the power that is drawn anyway when its budget is repaired', async () => {
    const problem = smallFleet({ classes, budgets: { ...fleet.budgets, powerW: 3, baseW: 2 } });
    expect(await repairOf(problem, 'power')).toEqual(['power budget 3 W -> 4.001 W']);
  });

  it('gets a cap that is enough for the devices of a pool that are on', async () => {
    const [first] = devices({ count: 4, powerCapW: 1.4, maxUtil: 1 });
    if (first === undefined) throw new Error('no device');
    const arcs = fleet.arcs.filter(({ d, v }) => d === 0 && v === 1).map((arc) => ({ ...arc, energy_J: 4 }));
    const budgets = { ...fleet.budgets, powerW: 6 };
    const pool = smallFleet({ classes, arcs, devices: [first], budgets });
    expect(await repairOf(pool, 'devpower')).toEqual([expect.stringMatching(/^power cap of north-1 1.4 W -> /)]);
  });
});

describe('tiny random fleets', () => {
  it.each([
    ['plain', tinyProblem, 40],
    ['with every feature', tinyFeaturedProblem, 80],
  ])('repairs every infeasible problem by each relaxation it names: %s', async (_, fleets, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        const plan = await optimise(problem, LIMITS, { exact, tiny });
        for (const { group } of plan.relaxations ?? []) {
          const repair = await findRepair(problem, new Set([group]), exact, LIMITS);
          const repaired = repair === undefined ? problem : applyRepair(problem, repair);
          expect((await optimise(repaired, LIMITS, { exact })).objective, group).not.toBeNull();
        }
      }),
      { numRuns, seed: 20260904 },
    );
  });
});
