import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem, tinyProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { applyRepair, boundValue, subjectOf } from './bound-change.js';
import { bindingBounds } from './bound-steps.js';
import type { Side } from './bound-trial.js';
import { isFloor } from './constraints.js';
import type { BoundOf } from './exact-parts.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import { route } from './route.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { type BudgetPrice, budgetPrice } from './sensitivity.js';
import { verifyPlacement } from './verify.js';
import { WhatIf } from './what-if.js';

const LIMITS = { timeLimitS: 20, gap: 1e-9, method: 'auto' } as const;
const solvers = { exact: new HighsSolver() };
const whatIf = () => new WhatIf({ solvers, clock: systemClock, timeLimitS: 60, stepLimitS: 10 });

async function pricesOf(problem: PlacementProblem, isAsked: (bound: BoundOf) => boolean = () => true) {
  const plan = await optimise(problem, LIMITS, solvers);
  const bounds = plan.objective === null ? [] : bindingBounds(problem, plan, verifyPlacement(problem, plan).uses);
  const prices = [];
  for (const bound of bounds.filter(isAsked)) {
    prices.push({ bound, price: await budgetPrice(problem, plan, bound, whatIf()) });
  }
  return { plan, prices };
}

async function priceOf(problem: PlacementProblem, group: ConstraintGroup, subject = ''): Promise<BudgetPrice> {
  const { prices } = await pricesOf(problem, (bound) => bound.group === group && subjectOf(problem, bound) === subject);
  const [found] = prices;
  if (found === undefined) throw new Error(`no price of ${group} ${subject}`);
  return found.price;
}

describe('the price of a budget', () => {
  it('has the range in which it holds', async () => {
    const price = await priceOf(referenceProblem('fleet-09-slo-tight').problem, 'latency', 'c3');
    expect(price.best?.perUnit).toBeCloseTo(29.12, 1);
    expect(price.best?.perUnit).toBeCloseTo(price.dual ?? NaN, 1);
    expect(price.text).toMatch(
      /^mean latency of c3 2\.831 s: \+0\.1 s buys 2\.912 points, up to 3\.\d+ s; nothing more from 3\.\d+ s on \(tried to 5\.662 s\).*; -0\.02831 s costs 0\.8243 points\.$/,
    );
  });

  it('can be reckoned by hand', async () => {
    // Each class has 1 request/s; `small` costs 1 J for 0.5, `large` 2 J for 0.9. One device idles at 1 W and is busy 0.4.
    const problem = smallFleet({ budgets: { ...smallFleet().budgets, powerW: 3.2 } });
    const price = await priceOf(problem, 'power');
    // 0.2 W of the budget lift 0.2 requests/s from small to large: 1000 * 0.4 / 2 points per request/s and watt.
    expect(price).toMatchObject({ value: 3.2, unit: 'W', triedTo: 6.4 });
    expect(price.best?.perUnit).toBeCloseTo(200, 3);
    expect(price.best?.flatFrom).toBeGreaterThanOrEqual(5);
    expect(price.best?.flatFrom).toBeLessThan(5.6);
    expect(price.text).toContain('power budget 3.2 W: +1 W buys 200 points, up to ');
    expect(price.text).toContain('-0.032 W costs 6.4 points');
  });

  it('of what comes whole says where it jumps', async () => {
    const price = await priceOf(referenceProblem('fleet-03-kappa2').problem, 'variants');
    expect(price.text).toBe('catalogue size 2: more buys nothing (tried to 6); -1 variants costs 51.58 points.');
    const slots = await priceOf(referenceProblem('fleet-09-slo-tight').problem, 'slots', 'agx64-0');
    expect(slots.text).toContain('slots of agx64-0 2: +1 slots buys 6.613 points');
    expect(slots.text).toContain('nothing with the experts where they are');
  });

  it('of power that is too little for another device says how much more it takes', async () => {
    // A device idles at 7 W and draws 1 W for the 0.5 requests/s it has time for: 8 W of 8.2 W. The second idles at 7 W too.
    const devices = smallFleet().devices.map((each) => ({ ...each, idleW: 7, maxUtil: 0.1 }));
    const classes = smallFleet().classes.map((each) => ({ ...each, minServed: 0, minReplicas: 0, minSites: 0 }));
    const budgets = { ...smallFleet().budgets, powerW: 8.2 };
    const price = await priceOf(smallFleet({ devices, classes, budgets }), 'power');
    expect(price.kept).toBeNull();
    const { at = NaN, after = NaN } = price.best?.jump ?? {};
    expect(after).toBeLessThanOrEqual(15);
    expect(at).toBeGreaterThan(15);
    expect(at - after).toBeLessThan(0.4);
    expect(price.text).toMatch(/^power budget 8\.2 W: \+[67]\.\d+ W buys [\d.]+ points at once, \+6\.\d+ W nothing;/);
  });

  it('is a dual for small changes, and says so, when there is no time to solve again', async () => {
    const { problem } = referenceProblem('fleet-09-slo-tight');
    const plan = await optimise(problem, LIMITS, solvers);
    const none = new WhatIf({ solvers, clock: new ManualClock(), timeLimitS: 0, stepLimitS: 1 });
    const price = await budgetPrice(problem, plan, { group: 'latency', index: 3 }, none);
    expect(price.text).toBe('mean latency of c3 2.831 s: +1 s buys 29.12 points at this placement, for small changes.');
  });
});

describe('prices of tiny random fleets', () => {
  it.each([
    ['plain', tinyProblem, 40],
    ['with every feature', tinyFeaturedProblem, 80],
  ])('never fall with more, and hold where they say: %s', async (_, fleets, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        const { plan, prices } = await pricesOf(problem);
        for (const { bound, price } of prices) {
          const best = price.steps.flatMap((step) => (typeof step.best === 'number' ? [step.best] : []));
          expect(best).toEqual(best.toSorted((a, b) => a - b));
          for (const step of price.steps) {
            if (typeof step.best === 'number') expect(step.best).toBeGreaterThanOrEqual(step.kept ?? -Infinity);
            if (typeof step.bound === 'number') expect(step.bound).toBeGreaterThanOrEqual(step.best ?? 0);
          }
          for (const side of ['kept', 'best'] as const) await expectRange(side, { problem, plan, bound, price });
        }
      }),
      { numRuns, seed: 20261001 },
    );
  });

  /** At `upTo`, solved afresh, each unit still buys at least half of what it does near the bound. */
  async function expectRange(
    side: Side,
    {
      problem,
      plan,
      bound,
      price,
    }: Awaited<ReturnType<typeof pricesOf>>['prices'][number] & {
      problem: PlacementProblem;
      plan: Awaited<ReturnType<typeof pricesOf>>['plan'];
    },
  ): Promise<void> {
    const slope = price[side];
    if (slope === null || slope === undefined) return;
    expect(slope.perUnit).toBeGreaterThan(0);
    const from = boundValue(problem, bound);
    const size = isFloor(bound.group) ? from - slope.upTo : slope.upTo - from;
    const changed = applyRepair(problem, { changes: [{ ...bound, from, to: slope.upTo }] });
    const after =
      side === 'kept' ? await route(changed, plan, LIMITS, solvers) : await optimise(changed, LIMITS, solvers);
    const gain = (after.objective ?? 0) - (plan.objective ?? 0);
    expect(gain).toBeGreaterThanOrEqual((slope.perUnit / 2) * size * 0.999 - 1e-2);
  }
});
