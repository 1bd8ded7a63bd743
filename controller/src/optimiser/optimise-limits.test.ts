import { systemClock } from '@fleetgate/shared/clock';
import { SeededRandom } from '@fleetgate/shared/random';
import { unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { fleetProblem } from '../bench/fleet-instances.js';
import { exhaustive } from './exhaustive.js';
import { HighsSolver } from './highs-solver.js';
import { lyingSolver } from './lying-solver.fixture.js';
import { optimise, type OptimiseLimits } from './optimise.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import type { LinearSolver, SessionAnswer } from './solver.js';
import { verify } from './verify.js';

const exact = new HighsSolver();
const solvers = { exact };
const METHODS = ['auto', 'monotonic', 'milp', 'heuristic'] as const;
const LIMITS = { timeLimitS: 10, gap: 1e-9, method: 'auto' } satisfies OptimiseLimits;

/** Time is over when it was looked at so many times: cut at the same place in every run. */
function looks(count: number) {
  let looked = 0;
  return { limits: { ...LIMITS, timeLimitS: count }, clock: { ...systemClock, now: () => unixMs(1000 * looked++) } };
}

/** Nothing may be said that is not so: `optimum` is -Infinity where there is no placement. */
function expectHonest(problem: PlacementProblem, plan: PlacementPlan, optimum: number): void {
  const margin = 2e-6 * Math.max(1, Math.abs(optimum));
  expect(verify(problem, plan).faults).toEqual([]);
  if (plan.objective !== null) expect(plan.objective).toBeLessThanOrEqual(optimum + margin);
  if (plan.status === 'infeasible') expect(optimum).toBe(-Infinity);
  else if (optimum > -Infinity) expect(plan.bound).toBeGreaterThanOrEqual(optimum - margin);
  if (plan.status === 'optimal') expect(plan.objective).toBeGreaterThanOrEqual(optimum - margin);
  if (plan.objective === null) expect(['infeasible', 'timeout']).toContain(plan.status);
}

describe('a limit of time', () => {
  it.each(METHODS)('makes %s say less, and nothing wrong', async (method) => {
    const statuses = new Set<string>();
    for (const [name, counts] of [
      ['fleet-01-plain', [0, 1, 2, 3, 5, 8, 20]],
      ['fleet-13-symmetric', [30]],
      ['fleet-15-inf-power', [30]],
    ] as const) {
      const { problem, expected } = referenceProblem(name);
      for (const count of counts) {
        const { limits, clock } = looks(count);
        const plan = await optimise(problem, { ...limits, method }, solvers, clock);
        expectHonest(problem, plan, expected.objective ?? -Infinity);
        statuses.add(plan.status);
      }
    }
    expect(statuses).toContain('timeout');
  });

  it.each([0.001, 0.05])(
    'of %s s leaves a large fleet with an honest plan, or with a bound alone',
    async (timeLimitS) => {
      const shape = { variants: 12, classes: 8, kappa: 3, seed: 5, modes: true, sites: 2 } as const;
      for (const jitter of ['none', 'like'] as const) {
        const problem = fleetProblem({ ...shape, devices: 150, jitter });
        const known = await optimise(problem, { ...LIMITS, timeLimitS: 0.5, gap: 1e-3 }, solvers);
        for (const method of METHODS) {
          const plan = await optimise(problem, { timeLimitS, method }, solvers);
          expect(verify(problem, plan).faults).toEqual([]);
          expect(plan.bound).toBeGreaterThanOrEqual((known.objective ?? -Infinity) - 1e-3);
          expect(plan.objective ?? 0).toBeLessThanOrEqual((known.bound ?? Infinity) + 1e-3);
          if (plan.objective === null) expect(plan.status).toBe('timeout');
        }
      }
    },
  );
});

describe('methods', () => {
  it('are all honest, and all but the heuristic find the best placement', async () => {
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, fc.constantFrom(...METHODS), async (problem, method) => {
        const optimum = (await exhaustive(problem, exact))?.objective ?? -Infinity;
        const plan = await optimise(problem, { ...LIMITS, method }, solvers);
        expectHonest(problem, plan, optimum);
        if (method !== 'heuristic') expect(plan.status).toBe(optimum > -Infinity ? 'optimal' : 'infeasible');
        else expect(plan.status).not.toBe('timeout');
      }),
      { numRuns: 40, seed: 20261021 },
    );
  });
});

describe('progress of a large fleet', () => {
  it('names no bound below a plan that was found, and no plan that was not', async () => {
    const shape = { variants: 12, classes: 8, kappa: 3, seed: 3, modes: false, sites: 0 } as const;
    for (const jitter of ['none', 'like'] as const) {
      const problem = fleetProblem({ ...shape, devices: 100, jitter });
      const seen: [number | null, number | null][] = [];
      const onProgress: OptimiseLimits['onProgress'] = ({ objective, bound }) => seen.push([objective, bound]);
      const plan = await optimise(problem, { ...LIMITS, timeLimitS: 2, gap: 1e-4, onProgress }, solvers);
      expect(seen.length).toBeGreaterThan(0);
      for (const [objective, bound] of seen) {
        expect(bound ?? Infinity).toBeGreaterThanOrEqual((plan.objective ?? Infinity) - 1e-6);
        expect(objective ?? 0).toBeLessThanOrEqual((plan.objective ?? 0) + 1e-6);
      }
    }
  });
});

describe('a solver that lies now and then', () => {
  /** What a broken simplex might say: too good, too bad, nothing, or that there is nothing. */
  const lies: readonly ((truth: SessionAnswer, random: SeededRandom) => SessionAnswer)[] = [
    (truth, random) =>
      truth.status === 'optimal' ? { ...truth, objective: truth.objective * random.uniform() } : truth,
    (truth) => (truth.status === 'optimal' ? { ...truth, objective: truth.objective * 2 + 1 } : truth),
    (truth, random) =>
      truth.status === 'optimal'
        ? { ...truth, rowDuals: truth.rowDuals.map((dual) => dual * 2 * random.uniform()) }
        : truth,
    (truth, random) =>
      truth.status === 'optimal' ? { ...truth, point: truth.point.map((value) => value * random.uniform()) } : truth,
    () => ({ status: 'stopped' }),
    () => ({ status: 'infeasible', ray: undefined }),
    (truth, random) =>
      truth.status === 'optimal'
        ? { status: 'infeasible', ray: truth.rowDuals.map((dual) => dual + random.uniform()) }
        : truth,
    (truth, random) =>
      truth.status === 'infeasible' ? { ...truth, ray: truth.ray?.map((value) => value * random.uniform()) } : truth,
  ];

  const liar = (random: SeededRandom, share: number): LinearSolver =>
    lyingSolver(exact, (truth) => {
      const lie = random.uniform() < share ? lies[Math.floor(random.uniform() * lies.length)] : undefined;
      return lie === undefined ? truth : lie(truth, random);
    });

  it('makes plans worse, never wrong', async () => {
    let hurt = 0;
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, fc.nat(), fc.constantFrom(0.1, 0.5), async (problem, seed, share) => {
        const optimum = (await exhaustive(problem, exact))?.objective ?? -Infinity;
        const plan = await optimise(problem, LIMITS, { exact: liar(new SeededRandom(seed), share) });
        expectHonest(problem, plan, optimum);
        if (plan.status !== 'optimal' && plan.status !== 'infeasible') hurt++;
      }),
      { numRuns: 80, seed: 20261022 },
    );
    expect(hurt).toBeGreaterThan(5);
  });
});
