import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem, tinyProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { latencyAxis, powerAxis } from './curve-axis.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import type { PlacementProblem } from './problem.js';
import { type Curve, curveText, tradeOff } from './trade-off.js';
import { WhatIf } from './what-if.js';

const LIMITS = { timeLimitS: 20, gap: 1e-9, method: 'auto' } as const;
const solvers = { exact: new HighsSolver() };
const whatIf = () => new WhatIf({ solvers, clock: systemClock, timeLimitS: 60, stepLimitS: 10 });
const objectiveAt = async (problem: PlacementProblem) => (await optimise(problem, LIMITS, solvers)).objective;

function expectMonotone(curve: Curve): void {
  const sorted = (values: readonly number[]) => values.toSorted((a, b) => a - b);
  const [values, objectives] = [curve.points.map(({ value }) => value), curve.points.map((p) => p.objective)];
  expect(values).toEqual(sorted(values));
  expect(objectives).toEqual(sorted(objectives));
  for (const { objective, bound } of curve.points) expect(bound).toBeGreaterThanOrEqual(objective);
}

describe('quality against watts', () => {
  it('can be reckoned by hand', async () => {
    // One device on idles at 1 W. Half of 2 requests/s by `small` takes 1 J each: 0.25 of quality. All by `large`: 4 W.
    const curve = await tradeOff(smallFleet(), 'power', whatIf(), { points: 5 });
    const values = [2.001, 2.75, 3.5, 4.25, 5];
    expect(curve.points.map(({ value }) => value)).toEqual(values.map((value) => expect.closeTo(value, 2)));
    // By each of them: a joule earns 250 points of 1000 on `small` and 225 on `large`, to lift a request 200.
    expect(curve.points[0]?.objective).toBeCloseTo(250, 0);
    expect(curve.points.at(-1)?.objective).toBeCloseTo(900, 3);
    expect(curve.text).toBe(
      'Quality against power: 250.2 at 2.001 W, the least at which a plan fits; 900 from 5 W on, where more buys nothing.',
    );
    expectMonotone(curve);
  });

  it('shows the budget as it is between its ends', async () => {
    const curve = await tradeOff(smallFleet({ budgets: { ...smallFleet().budgets, powerW: 3.2 } }), 'power', whatIf());
    expect(curve.points.find(({ value }) => value === 3.2)?.objective).toBeCloseTo(540, 3);
    expect(curve.text).toContain('540 at 3.2 W, as now');
  });

  it('of a fleet that no power makes feasible is empty', async () => {
    const curve = await tradeOff(referenceProblem('fleet-17-inf-memory').problem, 'power', whatIf());
    expect(curve).toMatchObject({
      points: [],
      text: 'Quality against power: no plan fits, however much power is allowed.',
    });
  });

  it('ends when its time does', async () => {
    const none = new WhatIf({ solvers, clock: new ManualClock(), timeLimitS: 0, stepLimitS: 1 });
    expect(await tradeOff(smallFleet(), 'power', none)).toMatchObject({ points: [], missing: 9 });
  });
});

describe('the text of a curve', () => {
  const frame = { of: 'power', unit: 'W', now: 100 } as const;
  const point = (value: number, objective: number, bound: number | null) =>
    ({ value, objective, bound, status: 'timeout' }) as const;

  it('claims of more no more than is proven, and says what was not solved', () => {
    const curve = { ...frame, points: [point(4974, 906.16, 908.6)], missing: 8 };
    expect(curveText(curve, true)).toBe(
      'Quality against power: 906.2 from 4974 W on, where more buys at most 2.44 points; 8 of the budgets in between were not solved for lack of time.',
    );
    const open = { ...frame, points: [point(20, 500, null), point(50, 700, null)], missing: 1 };
    expect(curveText(open, false)).toBe(
      'Quality against power: 500 at 20 W; 700 from 50 W on, where more buys nothing that was found; 1 of the budgets in between was not solved for lack of time.',
    );
  });
});

describe('quality against latency', () => {
  it('begins where the quickest variants are just quick enough', async () => {
    const classes = smallFleet().classes.map((each) => ({ ...each, sloMean_s: 0.5 }));
    const curve = await tradeOff(smallFleet({ classes }), 'latency', whatIf(), { points: 3 });
    // `small` takes 0.3 s and is worth 500, `large` 0.6 s and 900.
    expect(curve.points).toEqual([
      expect.objectContaining({ value: expect.closeTo(0.6, 3), objective: expect.closeTo(500, 3) }),
      expect.objectContaining({ value: expect.closeTo(0.9, 3), objective: expect.closeTo(700, 3) }),
      expect.objectContaining({ value: 1, objective: expect.closeTo(766.667, 2) }),
      expect.objectContaining({ value: expect.closeTo(1.2, 3), objective: expect.closeTo(900, 3) }),
    ]);
  });

  it('of a reference instance agrees with single solves', async () => {
    const { problem } = referenceProblem('fleet-09-slo-tight');
    const curve = await tradeOff(problem, 'latency', whatIf());
    expectMonotone(curve);
    for (const { value, objective } of [curve.points[2], curve.points[5]].filter((point) => point !== undefined)) {
      expect(objective).toBeCloseTo((await objectiveAt(latencyAxis(problem).at(value))) ?? NaN, 2);
    }
  });
});

it.each([
  ['plain', tinyProblem, 15],
  ['with every feature', tinyFeaturedProblem, 25],
])(
  'curves of tiny random fleets are monotone, begin at the least and end at the best: %s',
  async (_, fleets, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fleets, fc.constantFrom('power' as const, 'latency' as const), async (problem, of) => {
        const axis = of === 'power' ? powerAxis(problem) : latencyAxis(problem);
        const curve = await tradeOff(problem, of, whatIf(), { points: 4 });
        const best = await objectiveAt(axis.at(axis.ample * 2 + 1));
        if (best === null) {
          expect(curve.points).toEqual([]);
          return;
        }
        expectMonotone(curve);
        expect(curve.points.at(-1)?.objective).toBeCloseTo(best, 2);
        const less = 0.95 * (curve.points[0]?.value ?? NaN);
        // Below the least no plan fits, or none that serves anything.
        if (curve.points.length > 1) expect((await objectiveAt(axis.at(less))) ?? 0).toBeLessThan(1e-6);
      }),
      { numRuns, seed: 20261002 },
    );
  },
);
