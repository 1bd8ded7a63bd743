import { classId, deviceId, planId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import type { DispatchPolicy } from '../dispatch/dispatch-policy.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { optimise } from '../optimiser/optimise.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { DEFAULT_BUDGETS } from './budgets.js';
import { diffPlan } from './diff-plan.js';
import type { PlanRecord } from './plan-record.js';
import { planView } from './plan-view.js';
import { planPolicy } from './policy.js';

/** One class, a good and costly variant on one device and a frugal one on the other; power decides the mix. */
const problem = (powerW: number): PlacementProblem => ({
  schema: 'fleet-opt/1',
  kind: 'fleet',
  name: 'mix',
  classes: [{ id: 'math', rate: 1, weight: 2, sloMean_s: 5, minServed: 1, minReplicas: 0 }],
  variants: [
    { id: 'big', memGiB: 1 },
    { id: 'small', memGiB: 1 },
  ],
  devices: ['a', 'b'].map((id) => ({ id, memGiB: 2, slots: 2, maxUtil: 0.7, idleW: 1, powerCapW: null })),
  arcs: [
    { d: 0, v: 0, k: 0, quality: 0.9, service_s: 0.5, energy_J: 10, latency_s: 2 },
    { d: 1, v: 1, k: 0, quality: 0.5, service_s: 0.5, energy_J: 2, latency_s: 1 },
  ],
  budgets: { powerW, maxVariants: null, moveGiB: null },
  current: [],
  movePenaltyPerGiB: 0,
});

async function record(powerW: number, id = 'p1'): Promise<PlanRecord> {
  const of = problem(powerW);
  const solution = await optimise(of, { timeLimitS: 10, gap: 0, method: 'auto' }, { exact: new HighsSolver() });
  const budgets = { ...DEFAULT_BUDGETS, fleetPowerW: powerW };
  return {
    id: planId(id),
    state: 'active',
    createdAt: unixMs(1),
    activatedAt: unixMs(2),
    trigger: 'requested',
    budgets,
    problem: of,
    solution,
    verified: true,
    circumstances: { devices: {}, variants: [], gate: '', budgets, demand: {}, costs: {}, answers: {} },
  };
}

describe('planPolicy', () => {
  it('has the shape that dispatch asks for, with prices per joule in quality', async () => {
    const policy: DispatchPolicy = planPolicy(await record(8));
    // One more watt moves 1/8 request/s from quality 0.5 to 0.9: a joule earns 0.4 / 8.
    expect(policy.qualityPerJoule).toBeCloseTo(0.05, 9);
    expect(policy.qualityPerSecond.get(classId('math'))).toBe(0);
    expect(policy.placements.get(deviceId('a'))).toEqual(new Set(['big']));
    expect(policy.limits.get(classId('math'))).toEqual({ latencyMean: 5000, energy: undefined });
  });

  it('prices nothing where the budget has room', async () => {
    expect(planPolicy(await record(30)).qualityPerJoule).toBe(0);
  });
});

describe('planView', () => {
  it('shows each bound with what is used of it, what binds and its price', async () => {
    const view = planView(await record(8));
    const power = view.constraints.find(({ group }) => group === 'power');
    expect(power).toMatchObject({ limit: 8, unit: 'W', binding: true });
    expect(power?.used).toBeCloseTo(8, 6);
    expect(power?.price).toBeCloseTo(50, 6);
    expect(view.routing).toHaveLength(2);
    expect(view.demand).toEqual([{ classId: 'math', ratePerS: 1 }]);
    expect(view.explanation.join(' ')).toContain('Power binds: 8 of 8 W; one watt more is worth about 50 points');
  });

  it('shows a rejected plan without placements, with its conflict', async () => {
    const view = planView({ ...(await record(1)), state: 'rejected', verified: false });
    expect(view).toMatchObject({ status: 'infeasible', placements: [], constraints: [], objective: null });
    expect([...(view.conflict ?? [])].sort()).toEqual(['demand', 'power']);
  });
});

describe('diffPlan', () => {
  it('says what each device loads and unloads, and nothing when nothing moves', async () => {
    const [wide, tight] = [await record(30), await record(3.5)];
    expect(diffPlan(wide, wide)).toEqual([]);
    expect(diffPlan(undefined, tight)).toEqual([{ deviceId: 'b', load: ['small'], unload: [], power: 'on' }]);
    expect(diffPlan(wide, tight).find(({ deviceId: id }) => id === deviceId('a'))).toMatchObject({
      unload: ['big'],
      power: 'off',
    });
  });
});
