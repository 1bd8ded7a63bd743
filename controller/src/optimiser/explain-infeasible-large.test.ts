import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { oneByOne, withoutLikeness } from '../../../test/fixtures/instances/one-by-one.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { fleetProblem } from '../bench/fleet-instances.js';
import { buildExactModel } from './exact-model.js';
import { explainLargeInfeasible } from './explain-infeasible-large.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import { searchPlacement } from './placement-search.js';
import { CONSTRAINT_GROUPS, type ConstraintGroup } from './plan.js';
import { exactPools, noPools } from './pools.js';
import type { PlacementProblem } from './problem.js';
import type { LinearEngine } from './solver.js';

const exact = new HighsSolver();
const LIMITS = { timeLimitS: 5, gap: 1e-4 };
let engine: LinearEngine;

beforeAll(async () => {
  engine = await exact.engine();
});

/** Whether some placement meets the bounds of these groups, and of `util`, which is physics. */
async function canHold(problem: PlacementProblem, groups: readonly ConstraintGroup[]): Promise<boolean> {
  const without = new Set(CONSTRAINT_GROUPS.filter((group) => group !== 'util' && !groups.includes(group)));
  const { status } = await exact.solve(buildExactModel(problem, { without, elastic: new Set() }).program, LIMITS);
  expect(['optimal', 'infeasible']).toContain(status);
  return status === 'optimal';
}

function hasPlacement(problem: PlacementProblem): boolean {
  let calls = 0;
  const effort = { gap: 1, left: () => 400 - calls++, mostNodes: 400, effort: 'full' } as const;
  return searchPlacement(problem, noPools(problem), engine, effort, () => {}).best !== undefined;
}

const fleets = fc
  .tuple(tinyFeaturedProblem, fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 3, maxLength: 3 }))
  .map(([tiny, of]) => exactPools(oneByOne(withoutLikeness(tiny), of)).problem);

describe('why a large fleet has no plan', () => {
  it('is a conflict that is one, and none without any of its groups, with repairs that repair', async () => {
    let [explained, repaired] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        if (await canHold(problem, CONSTRAINT_GROUPS)) return;
        explained++;
        const enough: PlacementProblem[] = [];
        const why = await explainLargeInfeasible(problem, exact, LIMITS, (changed) => {
          const isFeasible = hasPlacement(changed);
          if (isFeasible) enough.push(changed);
          return isFeasible;
        });
        const conflict = why.conflict ?? [];
        expect(await canHold(problem, conflict)).toBe(false);
        for (const group of conflict) {
          expect(await canHold(problem, conflict.filter((other) => other !== group))).toBe(true); // prettier-ignore
        }
        const groups = why.relaxations?.map(({ group }) => group) ?? [];
        expect(conflict).toEqual(expect.arrayContaining(groups));
        expect(groups.length).toBe(enough.length);
        for (const changed of enough) {
          repaired++;
          expect(await canHold(changed, CONSTRAINT_GROUPS)).toBe(true);
        }
        for (const { slack, text } of why.relaxations ?? []) {
          expect(slack).toBeGreaterThan(0);
          expect(why.explanation.join()).toContain(text);
        }
      }),
      { numRuns: 30, seed: 20261061 },
    );
    expect(explained).toBeGreaterThan(10);
    expect(repaired).toBeGreaterThan(5);
  });

  it('is said in watts that are enough, of 100 devices', async () => {
    const shape = { variants: 6, classes: 4, kappa: 2, seed: 3, jitter: 'like', modes: false, sites: 0 } as const;
    const fleet = fleetProblem({ ...shape, devices: 100 });
    const classes = fleet.classes.map((each) => ({ ...each, minServed: 0.5 }));
    const problem = { ...fleet, classes, budgets: { ...fleet.budgets, powerW: fleet.budgets.powerW / 20 } };
    const limits = { timeLimitS: 4, gap: 1e-2, method: 'auto' } as const;
    const plan = await optimise(problem, limits, { exact });
    expect(plan).toMatchObject({ status: 'infeasible', objective: null });
    expect(plan.conflict).toContain('power');
    const slack = plan.relaxations?.find(({ group }) => group === 'power')?.slack ?? 0;
    expect(slack).toBeGreaterThan(0);
    const powerW = problem.budgets.powerW + slack;
    const repaired = { ...problem, budgets: { ...problem.budgets, powerW } };
    expect((await optimise(repaired, limits, { exact })).objective).not.toBeNull();
    // It is not much more than is needed.
    const tighter = { ...problem, budgets: { ...problem.budgets, powerW: problem.budgets.powerW + slack / 1.5 } };
    expect((await optimise(tighter, limits, { exact })).objective).toBeNull();
  });

  it('is found among whole numbers where fractions of copies would do', async () => {
    // Devices of 3 GiB, and a variant of 4: three quarters of a copy fit on each.
    const small = smallFleet({ variants: [{ id: 'large', memGiB: 4 }] });
    const arcs = small.arcs.filter(({ v }) => v === 0);
    const problem = { ...small, arcs, devices: small.devices.map((device) => ({ ...device, memGiB: 3 })) };
    const why = await explainLargeInfeasible(problem, exact, LIMITS, hasPlacement);
    expect(why.conflict).toEqual(['demand', 'memory']);
    expect(why.relaxations?.map(({ group }) => group)).toEqual(['memory']);
  });
});
