import { systemClock } from '@fleetgate/shared/clock';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem, tinyProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { arcIndexOf } from './arc-index.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import { route } from './route.js';
import { powerUse } from './constraints.js';
import { modesOf } from './placement.js';
import { planUse } from './plan-use.js';
import type { PlacementProblem } from './problem.js';
import { swapRegret, nearestSwaps } from './swap-regret.js';
import { WhatIf } from './what-if.js';
import { devicesOff, whyOff } from './why-off.js';

const LIMITS = { timeLimitS: 20, gap: 1e-9, method: 'auto' } as const;
const solvers = { exact: new HighsSolver() };
const ask = () => new WhatIf({ solvers, clock: systemClock, timeLimitS: 60, stepLimitS: 10 });

async function offOf(problem: PlacementProblem) {
  const plan = await optimise(problem, LIMITS, solvers);
  const whatIf = ask();
  const reasons = [];
  for (const off of devicesOff(problem, plan, await whatIf.rowPrices(problem, plan))) {
    reasons.push(await whyOff(problem, plan, off, { whatIf, isExact: true }));
  }
  return { plan, reasons };
}

describe('a device that is off', () => {
  it('says what its power is worth elsewhere', async () => {
    // 1 W of idle is worth 200 points where a joule lifts a request from `small` to `large`.
    const { reasons } = await offOf(smallFleet({ budgets: { ...smallFleet().budgets, powerW: 3.2 } }));
    expect(reasons).toHaveLength(1);
    expect(reasons[0]?.atPrices).toMatchObject({ idleW: 1, cost: expect.closeTo(200, 3) });
    // The other one may be off instead.
    expect(reasons[0]?.forced).toBeCloseTo(540, 2);
    expect(reasons[0]?.text).toMatch(
      /^(north|south)-1 is off: on, it would take 1 W of the power budget and at today's prices earn nothing, 200 less than that power is worth elsewhere; the best plan with it on is as good\.$/,
    );
  });

  it('says when its power is to spare', async () => {
    const { reasons } = await offOf(referenceProblem('fleet-01-plain').problem);
    expect(reasons[0]?.text).toMatch(
      /is off: on, it would take .* W, which are to spare, and could serve nothing better than it is; the best plan with it on is as good\.$/,
    );
  });

  it('says what is to spare where the budget binds though power is worth nothing', async () => {
    const fleet = smallFleet();
    const free = await optimise(fleet, LIMITS, solvers);
    const plan = { ...free, poweredOn: free.poweredOn.slice(0, 1) };
    const { used } = powerUse(planUse(fleet, plan));
    const problem = { ...fleet, budgets: { ...fleet.budgets, powerW: used + 0.25 } };
    const atPrices = { idleW: 1, cost: 0, earnsAtMost: 0 };
    const d = 1 - (plan.poweredOn[0]?.[0] ?? 0);
    const reason = await whyOff(problem, plan, { d, atPrices }, { whatIf: ask(), isExact: false });
    expect(reason.text).toMatch(
      /^(north|south)-1 is off: on, it would take 1 W, of which 0\.25 W are to spare, and could serve nothing better than it is\.$/,
    );
  });

  it('says when nothing may run there', async () => {
    const fleet = smallFleet();
    const { reasons } = await offOf({ ...fleet, arcs: fleet.arcs.filter(({ d }) => d === 0) });
    expect(reasons.map(({ text }) => text)).toEqual(['south-1 is off: no variant may run there.']);
  });

  it('of a pool is one of several', async () => {
    const [first] = smallFleet().devices;
    if (first === undefined) throw new Error('no device');
    const pool = smallFleet({ devices: [{ ...first, count: 4 }], arcs: smallFleet().arcs.filter(({ d }) => d === 0) });
    const { reasons } = await offOf({ ...pool, budgets: { ...pool.budgets, powerW: 3.2 } });
    expect(reasons[0]?.text).toMatch(
      /^1 of 4 north-1 are on: one more would take 1 W .* with one more on is 240 points worse/,
    );
  });
});

describe('a swap', () => {
  it('has its regret', async () => {
    const { problem } = referenceProblem('fleet-09-slo-tight');
    const plan = await optimise(problem, LIMITS, solvers);
    const whatIf = ask();
    const swaps = await nearestSwaps(problem, plan, whatIf);
    expect(swaps.length).toBeGreaterThan(1);
    for (const swap of swaps.slice(0, 2)) {
      const found = await swapRegret(problem, plan, swap, whatIf);
      expect(found.regret).toBeGreaterThan(-1e-3);
      expect(found.text).toMatch(/^m\S+ instead of m\S+ on \S+: (costs [\d.]+ points|as good)\.$/);
    }
  });

  it('that does not fit says so', async () => {
    const fleet = smallFleet({ variants: [{ id: 'large', memGiB: 9.2 }, ...smallFleet().variants.slice(1)] });
    const plan = await optimise(fleet, LIMITS, solvers);
    expect(await swapRegret(fleet, plan, { d: 0, from: 1, to: 0 }, ask())).toMatchObject({
      regret: null,
      forbiddenBy: ['memory'],
      text: 'large instead of small on north-1: does not fit: 9.2 GiB of 8 GiB.',
    });
  });

  it('that no plan allows says which bounds stand against it', async () => {
    // Either device alone may be on, and only `large` serves what has to be served.
    const classes = smallFleet().classes.map((each) => ({ ...each, sloMean_s: 0.4 }));
    const fleet = smallFleet({ classes, budgets: { ...smallFleet().budgets, powerW: 3.5 } });
    const quick = { ...fleet, arcs: fleet.arcs.filter(({ d, v }) => d === 0 || v === 0) };
    const plan = await optimise(quick, LIMITS, solvers);
    const found = await swapRegret(quick, plan, { d: 0, from: 1, to: 0 }, ask());
    expect(found.forbiddenBy).toEqual(['demand', 'latency']);
    expect(found.text).toBe('large instead of small on north-1: no plan keeps the bounds on demand, latency then.');
  });
});

describe('tiny random fleets', () => {
  it.each([
    ['plain', tinyProblem, 40],
    ['with every feature', tinyFeaturedProblem, 80],
  ])('lose by what they do not do, and never gain more than the prices allow: %s', async (_, fleets, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        const { plan, reasons } = await offOf(problem);
        if (plan.objective === null) return;
        const noise = 1e-4 * Math.max(1, plan.objective);
        for (const { forced, forcedBound } of reasons) {
          expect(forced ?? -Infinity).toBeLessThanOrEqual(plan.objective + noise);
          if (typeof forcedBound === 'number') expect(forcedBound).toBeGreaterThanOrEqual(forced ?? 0);
        }
        for (const swap of await nearestSwaps(problem, plan, ask())) {
          const { regret } = await swapRegret(problem, plan, swap, ask());
          if (typeof regret === 'number') expect(regret).toBeGreaterThanOrEqual(-noise);
        }
        await expectEarnings(problem, plan);
      }),
      { numRuns, seed: 20261003 },
    );
  });

  /** Put on beside the rest, with any variant in any mode, no device gains more than the prices say at most. */
  async function expectEarnings(problem: PlacementProblem, plan: Awaited<ReturnType<typeof optimise>>): Promise<void> {
    const now = await route(problem, plan, LIMITS, solvers);
    for (const { d, atPrices } of devicesOff(problem, plan, await ask().rowPrices(problem, plan))) {
      const device = problem.devices[d];
      if (device === undefined || atPrices === null) continue;
      for (const v of new Set(
        arcIndexOf(problem)
          .of(d)
          .map((arc) => arc.v),
      )) {
        for (const m of modesOf(device).keys()) {
          const placement = [...plan.placement, [d, v, 1] as const];
          const poweredOn = [...plan.poweredOn, [d, 1] as const];
          const modes = device.modes === undefined ? plan.modes : [...(plan.modes ?? []), [d, m, 1] as const];
          const more = await route(problem, { placement, poweredOn, ...(modes && { modes }) }, LIMITS, solvers);
          const gain = (more.objective ?? -Infinity) - (now.objective ?? 0);
          expect(gain).toBeLessThanOrEqual(atPrices.earnsAtMost - atPrices.cost + 1e-3);
        }
      }
    }
  }
});
