import { classId, variantId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { aReported } from '../fleet/device.fixture.js';
import { placementProblemSchema } from '../optimiser/problem.js';
import { problemFaults } from '../optimiser/problem-faults.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { buildProblem, type ProblemFacts } from './build-problem.js';
import { classBudget, DEFAULT_BUDGETS, parseBudgets } from './budgets.js';
import { Demand, PRIOR_RATE } from './demand.js';
import { fillSpare } from './fill-spare.js';
import { aCatalogue, aGate, aMeasuredDevice, FixedCosts } from './planning.fixture.js';

const catalogue = aCatalogue(['code', 'math']);
const pi = aMeasuredDevice('pi', catalogue);
const phone = aMeasuredDevice('phone', catalogue);
const facts = (parts: Partial<ProblemFacts> = {}): ProblemFacts => ({
  fleet: new Map([pi, phone].map((device) => [device.id, device])),
  catalogue,
  gate: aGate(['code', 'math']),
  costs: new FixedCosts(),
  workloads: new WorkloadModel(),
  demand: new Map([[classId('math'), 0.5]]),
  budgets: { ...DEFAULT_BUDGETS, fleetPowerW: 20 },
  placed: new Map([[pi.id, [variantId('math-q8'), variantId('gone-q8')]]]),
  ...parts,
});

describe('buildProblem', () => {
  it('speaks of our devices, variants and classes, in the units of the schema', () => {
    const problem = buildProblem(facts());
    expect(placementProblemSchema.parse(problem)).toEqual(problem);
    expect(problemFaults(problem)).toEqual([]);
    expect(problem.devices.map(({ id }) => id)).toEqual(['phone', 'pi']);
    expect(problem.classes.map(({ id, rate }) => [id, rate])).toEqual([
      ['code', 0],
      ['math', 0.5],
    ]);
    expect(problem.arcs).toHaveLength(8);
    expect(problem.arcs.find(({ d, v, k }) => d === 1 && v === 1 && k === 1)).toEqual({
      d: 1,
      v: 1,
      k: 1,
      quality: 0.8,
      service_s: 0.5,
      energy_J: 4,
      // 0.5 s of service, 1.75 times that of waiting, 0.05 s of transport.
      latency_s: 1.425,
    });
    expect(problem.current).toEqual([[1, 1]]);
  });

  it('counts standby against the budget and only the rest of idling as the cost of being on', () => {
    const problem = buildProblem(facts());
    expect(problem.budgets).toEqual({ powerW: 20, baseW: 4, maxVariants: null, moveGiB: null });
    expect(problem.devices[0]?.idleW).toBe(1);
  });

  it('leaves out what cannot host: offline, engine down, too small, failed', () => {
    const small = aMeasuredDevice('small', catalogue, {
      reported: aReported({ memory: { budgetBytes: 1e6, usedBytes: 0 } }),
    });
    const offline = { ...pi, presence: 'offline' as const };
    const down = aMeasuredDevice('down', catalogue, {
      reported: aReported({ engine: { kind: 'llama', version: 'b1', state: 'down' } }),
    });
    const failed = aMeasuredDevice('failed', catalogue, {
      reported: aReported({ variants: [{ variantId: variantId('math-q8'), residency: 'failed' }] }),
    });
    const problem = buildProblem(facts({ fleet: new Map([small, offline, down, failed].map((d) => [d.id, d])) }));
    expect(problem.devices.map(({ id }) => id)).toEqual(['failed', 'small']);
    expect([...new Set(problem.arcs.map(({ d, v }) => `${d},${v}`))]).toEqual(['0,0']);
  });

  it('without a power budget bounds power by what no plan can reach', () => {
    const problem = buildProblem(facts({ budgets: DEFAULT_BUDGETS }));
    expect(problem.budgets.powerW).toBeGreaterThan(1000);
  });
});

describe('fillSpare', () => {
  it('uses free slots of devices that are on, and breaks no bound', () => {
    const problem = buildProblem(facts());
    const plan = {
      placement: [[1, 1, 1] as const],
      poweredOn: [[1, 1] as const],
      routing: [{ k: 1, d: 1, v: 1, rate: 0.5 }],
    };
    expect(fillSpare(problem, plan).placement).toEqual([
      [1, 0, 1],
      [1, 1, 1],
    ]);
    const full = { ...problem, devices: problem.devices.map((device) => ({ ...device, slots: 1 })) };
    expect(fillSpare(full, plan).placement).toEqual([[1, 1, 1]]);
    const capped = { ...problem, budgets: { ...problem.budgets, maxVariants: 1 } };
    expect(fillSpare(capped, plan).placement).toEqual([[1, 1, 1]]);
  });
});

describe('Demand', () => {
  it('starts equal for all classes, follows what comes, and forgets it', () => {
    const demand = new Demand();
    const classes = ['math', 'code'].map(classId);
    const rate = (atS: number, name: string) => demand.rates(classes, unixMs(atS * 1000)).get(classId(name)) ?? 0;
    expect(rate(0, 'math')).toBe(PRIOR_RATE);
    for (let second = 0; second < 3600; second++) demand.record(classId('math'), unixMs(second * 1000));
    expect(rate(3600, 'math')).toBeCloseTo(1 + PRIOR_RATE, 1);
    expect(rate(3600, 'code')).toBe(PRIOR_RATE);
    expect(rate(3600 + 300, 'math')).toBeCloseTo(0.5 + PRIOR_RATE, 1);
  });
});

describe('budgets', () => {
  it('fall back to the default, class by class and entry by entry', () => {
    const budgets = parseBudgets({ ...DEFAULT_BUDGETS, classes: { math: { minServed: 1 } } });
    expect(classBudget(budgets, 'math')).toEqual({ ...DEFAULT_BUDGETS.defaultClass, minServed: 1 });
    expect(classBudget(budgets, 'code')).toEqual(DEFAULT_BUDGETS.defaultClass);
  });

  it.each([
    ['nothing', {}],
    ['a negative budget', { ...DEFAULT_BUDGETS, fleetPowerW: -1 }],
    ['not a number', { ...DEFAULT_BUDGETS, fleetPowerW: NaN }],
    ['a mistyped key', { ...DEFAULT_BUDGETS, fleetPower: 3 }],
    ['a share above 1', { ...DEFAULT_BUDGETS, classes: { math: { minServed: 90 } } }],
  ])('are refused: %s', (_, value) => {
    expect(() => parseBudgets(value)).toThrow(expect.objectContaining({ code: 'budget.invalid' }));
  });
});
