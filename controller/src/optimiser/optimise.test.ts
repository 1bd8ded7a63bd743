import { ManualClock } from '@fleetgate/shared/clock';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { tinyFeaturedProblem, tinyProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { applyRepair } from './bound-change.js';
import { exhaustive } from './exhaustive.js';
import { HighsSolver } from './highs-solver.js';
import { lyingSolver } from './lying-solver.fixture.js';
import { JavascriptLpSolver } from './javascript-lp-solver.js';
import { qualityCeiling } from './objective.js';
import { optimise, type OptimiseLimits } from './optimise.js';
import { route } from './route.js';
import type { PlacementProblem } from './problem.js';
import { problemFaults } from './problem-faults.js';
import { findRepair } from './repair.js';
import type { LinearSolver } from './solver.js';
import { verify, verifyPlacement } from './verify.js';

const LIMITS = { timeLimitS: 30, gap: 1e-9, method: 'auto' } satisfies OptimiseLimits;
const exact = new HighsSolver();
const tiny = new JavascriptLpSolver();
const solvers = { exact };

afterAll(async () => {
  await tiny.close();
});

describe('reference instances', () => {
  it.each([
    'fleet-01-plain',
    'fleet-03-kappa2',
    'fleet-05-redundancy3',
    'fleet-07-move-budget',
    'fleet-09-slo-tight',
    'fleet-13-symmetric',
  ])('%s reaches its proven objective and verifies', async (name) => {
    const { problem, expected } = referenceProblem(name);
    const plan = await optimise(problem, LIMITS, { exact, tiny });
    expect(plan.status).toBe('optimal');
    const target = expected.objective ?? NaN;
    expect(Math.abs((plan.objective ?? NaN) - target)).toBeLessThanOrEqual(expected.relTolerance * target);
    expect(plan.bound ?? 0).toBeGreaterThanOrEqual(plan.objective ?? Infinity);
    expect(verify(problem, plan)).toMatchObject({ ok: true, faults: [] });
  });

  it('proves parts empty whose rays leave it to columns that no class is served twice', async () => {
    const { problem: slow } = referenceProblem('fleet-09-slo-tight');
    const classes = slow.classes.map((each, k) => (k === 0 ? { ...each, rate: each.rate / 1000 } : each));
    const plan = await optimise(
      {
        ...slow,
        classes,
        current: [
          [0, 0],
          [0, 1],
          [0, 2],
          [1, 3],
        ],
      },
      LIMITS,
      { exact },
    );
    expect(plan.explanation.join()).not.toContain('Not proven');
    expect(plan.status).toBe('optimal');
    const { problem: dark } = referenceProblem('fleet-15-inf-power');
    const arcs = dark.arcs.map((arc, i) => (i === 22 ? { ...arc, quality: 2 } : arc));
    expect((await optimise({ ...dark, arcs }, LIMITS, { exact })).status).toBe('infeasible');
  });

  it('says why there is no plan within the time limit, and that more of it would say more', async () => {
    const { problem } = referenceProblem('fleet-15-inf-power');
    const clock = new ManualClock();
    const slow: LinearSolver = {
      name: exact.name,
      engine: () => exact.engine(),
      solve: (program, limits) => {
        clock.advance(Math.min(limits.timeLimitS, 0.5) * 1000);
        return exact.solve(program, limits);
      },
      close: () => exact.close(),
    };
    const plan = await optimise(problem, { ...LIMITS, timeLimitS: 3 }, { exact: slow }, clock);
    expect(plan.seconds).toBeLessThanOrEqual(3.5);
    expect(plan.status).toBe('infeasible');
    expect(plan.conflict).toEqual(expect.arrayContaining(['demand', 'latency', 'power']));
    expect(plan.explanation.at(-1)).toMatch(/^Time was over before everything was tried/);
    const patient = await optimise(problem, LIMITS, { exact });
    expect(patient.explanation.join()).not.toContain('Time was over');
  });

  it.each(['fleet-15-inf-power', 'fleet-17-inf-memory', 'fleet-19-inf-move'])(
    '%s is infeasible, with its irreducible conflict and a repair of each group that helps',
    async (name) => {
      const { problem, expected } = referenceProblem(name);
      const plan = await optimise(problem, LIMITS, { exact, tiny });
      expect(plan).toMatchObject({ status: 'infeasible', objective: null, placement: [] });
      expect([...(plan.conflict ?? [])].sort()).toEqual([...(expected.conflict ?? [])].sort());
      expect(plan.relaxations?.map(({ group }) => group).sort()).toEqual(
        [...(expected.repairBySingleGroup ?? [])].sort(),
      );
      for (const { group, slack, text } of plan.relaxations ?? []) {
        expect(slack).toBeGreaterThan(0);
        expect(text).toContain(' -> ');
        const repair = await findRepair(problem, new Set([group]), exact, LIMITS);
        if (repair === undefined) throw new Error(`no repair of ${group}`);
        expect((await optimise(applyRepair(problem, repair), LIMITS, solvers)).objective).not.toBeNull();
      }
    },
  );

  it('says the repair in the words and units of the budget', async () => {
    const { problem } = referenceProblem('fleet-15-inf-power');
    const plan = await optimise(problem, LIMITS, solvers);
    expect(plan.relaxations?.find(({ group }) => group === 'power')).toEqual({
      group: 'power',
      slack: 1.7,
      unit: 'W',
      text: 'power budget 9.25 W -> 10.95 W',
    });
  });
});

describe('properties on tiny random fleets', () => {
  it.each([
    ['plain', tinyProblem, 60],
    ['with every feature', tinyFeaturedProblem, 120],
  ])('equals exhaustive search, verifies, and prices by strong duality: %s', async (_, fleets, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        expect(problemFaults(problem)).toEqual([]);
        const [plan, oracle] = [await optimise(problem, LIMITS, solvers), await exhaustive(problem, exact)];
        if (oracle === undefined) {
          expect(plan.status).toBe('infeasible');
          expect(plan.conflict?.length).toBeGreaterThan(0);
          return;
        }
        expect(plan.status).toBe('optimal');
        expect(plan.objective).toBeCloseTo(oracle.objective, 4);
        expect(verify(problem, plan).faults).toEqual([]);
        expect(plan.prices.power?.value).toBeGreaterThanOrEqual(0);
      }),
      { numRuns, seed: 20260901 },
    );
  });

  it('never gets worse with more of any budget', async () => {
    await fc.assert(
      fc.asyncProperty(tinyProblem, async (problem) => {
        const richer: PlacementProblem = {
          ...problem,
          classes: problem.classes.map((each) => ({ ...each, sloMean_s: each.sloMean_s * 1.3, maxEnergy_J: null })),
          devices: problem.devices.map((device) => ({
            ...device,
            memGiB: device.memGiB + 1,
            slots: device.slots + 1,
            powerCapW: null,
          })),
          budgets: { ...problem.budgets, powerW: problem.budgets.powerW + 5, maxVariants: null, moveGiB: null },
        };
        const [plan, better] = [await optimise(problem, LIMITS, solvers), await optimise(richer, LIMITS, solvers)];
        if (plan.objective === null) return;
        expect(better.objective ?? -Infinity).toBeGreaterThanOrEqual(plan.objective - 1e-4);
      }),
      { numRuns: 40, seed: 20260902 },
    );
  });

  it('does not depend on the order of the devices', async () => {
    await fc.assert(
      fc.asyncProperty(tinyProblem, async (problem) => {
        const last = problem.devices.length - 1;
        const turned: PlacementProblem = {
          ...problem,
          devices: problem.devices.toReversed(),
          arcs: problem.arcs.map((arc) => ({ ...arc, d: last - arc.d })).toReversed(),
          current: problem.current.map(([d, v]) => [last - d, v]),
        };
        const [plan, other] = [await optimise(problem, LIMITS, solvers), await optimise(turned, LIMITS, solvers)];
        expect(other.status).toBe(plan.status);
        expect(other.objective ?? -1).toBeCloseTo(plan.objective ?? -1, 4);
        expect([...(other.conflict ?? [])].sort()).toEqual([...(plan.conflict ?? [])].sort());
      }),
      { numRuns: 30, seed: 20260903 },
    );
  });

  it('breaks ties by power without giving up quality', async () => {
    await fc.assert(
      fc.asyncProperty(tinyProblem, async (problem) => {
        const plain = await optimise(problem, LIMITS, solvers);
        const frugal = await optimise(problem, { ...LIMITS, tieBreak: 'least-power' }, solvers);
        expect(frugal.status).toBe(plain.status);
        if (plain.objective === null) return;
        expect(frugal.objective ?? 0).toBeGreaterThanOrEqual(plain.objective - 2e-6 * Math.max(1, plain.objective));
        const watts = (plan: typeof plain) =>
          verifyPlacement(problem, plan).uses.find(({ group }) => group === 'power')?.used ?? 0;
        expect(watts(frugal)).toBeLessThanOrEqual(watts(plain) * 1.002 + 0.01);
      }),
      { numRuns: 40, seed: 20260905 },
    );
  });
});

describe('prices', () => {
  it('predict what a looser bound buys', async () => {
    const { problem } = referenceProblem('fleet-09-slo-tight');
    const plan = await optimise(problem, LIMITS, solvers);
    const k = 3;
    const step = 0.01;
    const widened = {
      ...problem,
      classes: problem.classes.map((each, i) => (i === k ? { ...each, sloMean_s: each.sloMean_s + step } : each)),
    };
    const rerouted = await route(widened, plan, LIMITS, solvers);
    const gain = (rerouted.objective ?? 0) - (plan.objective ?? 0);
    expect(gain / step).toBeCloseTo(plan.prices.latency[String(k)] ?? 0, 1);
  });

  it('are zero for a budget with room left', async () => {
    const { problem } = referenceProblem('fleet-01-plain');
    expect((await optimise(problem, LIMITS, solvers)).prices.power).toEqual({ value: 0, unit: 'points/W' });
  });
});

describe('a solver that cannot be trusted', () => {
  it('is not believed when its points break bounds', async () => {
    const { problem } = referenceProblem('fleet-01-plain');
    const liar = lyingSolver(exact, (truth, program) =>
      truth.status === 'optimal' ? { ...truth, point: Float64Array.from(program.upper), objective: 999 } : truth,
    );
    const plan = await optimise(problem, LIMITS, { exact: liar });
    expect(plan).toMatchObject({ status: 'timeout', objective: null });
    expect(plan.bound).toBeGreaterThan(736.38);
  });

  it('proves nothing by a bound that its prices do not prove', async () => {
    const { problem } = referenceProblem('fleet-01-plain');
    const modest = lyingSolver(exact, (truth) =>
      truth.status === 'optimal'
        ? { ...truth, objective: 0, point: new Float64Array(truth.point.length), rowDuals: truth.rowDuals.map(() => 0) }
        : truth,
    );
    const free = problem.classes.map((each) => ({ ...each, minServed: 0, minReplicas: 0 }));
    const scarce = { ...problem, classes: free, budgets: { ...problem.budgets, powerW: 4 } };
    const plan = await optimise(scarce, LIMITS, { exact: modest, tiny });
    expect(plan.status).toBe('feasible');
    expect(plan.objective).toBeGreaterThan(0);
    expect(plan.bound).toBeGreaterThanOrEqual(plan.objective ?? Infinity);
  });

  it('claims an empty part in vain when its ray proves nothing', async () => {
    const { problem } = referenceProblem('fleet-01-plain');
    const defeatist = lyingSolver(exact, (truth, program) =>
      truth.status === 'optimal' ? { status: 'infeasible', ray: new Float64Array(program.rowLower.length) } : truth,
    );
    const plan = await optimise(problem, LIMITS, { exact: defeatist });
    expect(plan).toMatchObject({ status: 'timeout', objective: null, conflict: null });
    expect(plan.explanation.join(' ')).toContain('is said to be empty');
    expect(plan.explanation.at(-1)).toMatch(
      /^No placement was found, nor proven that there is none, and time was left/,
    );
    const hasty = await optimise(problem, { ...LIMITS, timeLimitS: 0 }, { exact });
    expect(hasty.explanation).toEqual([expect.stringMatching(/^No placement was found within 0 s\. Give more time/)]);
  });

  it('that breaks down leaves tiny problems to the other one, proven only by the ceiling', async () => {
    const { problem } = referenceProblem('fleet-01-plain');
    const broken: LinearSolver = {
      name: 'broken',
      solve: async () => ({ status: 'failed', reason: 'out of memory' }),
      engine: () => Promise.reject(new Error('out of memory')),
      close: async () => {},
    };
    const plan = await optimise(problem, LIMITS, { exact: broken, tiny });
    expect(plan.objective).toBeGreaterThan(736.3);
    expect(plan.bound).toBeCloseTo(qualityCeiling(problem), 6);
    expect(verifyPlacement(problem, plan).faults).toEqual([]);
    const large = await optimise(referenceProblem('fleet-09-slo-tight').problem, LIMITS, { exact: broken, tiny });
    expect(large).toMatchObject({ status: 'timeout', objective: null });
    expect(large.explanation[0]).toContain('out of memory');
  });
});

it('answers problems with nothing in them', async () => {
  const { problem } = referenceProblem('fleet-01-plain');
  const free = problem.classes.map((each) => ({ ...each, minServed: 0, minReplicas: 0 }));
  const none = await optimise({ ...problem, classes: free, devices: [], arcs: [] }, LIMITS, solvers);
  expect(none).toMatchObject({ status: 'optimal', objective: 0, placement: [] });
  const noArcs = await optimise({ ...problem, arcs: [] }, LIMITS, solvers);
  expect(noArcs.status).toBe('infeasible');
  const noClasses = await optimise({ ...problem, classes: [], arcs: [] }, LIMITS, solvers);
  expect(noClasses).toMatchObject({ status: 'optimal', objective: 0, placement: [] });
  const asleep = problem.classes.map((each) => ({ ...each, rate: 0 }));
  expect((await optimise({ ...problem, classes: asleep }, LIMITS, solvers)).objective).toBe(0);
});
