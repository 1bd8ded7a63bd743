import { deviceId, type DeviceId, variantId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import type { Placement } from '../optimiser/placement.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { verifyPlacement } from '../optimiser/verify.js';
import type { Device } from '../fleet/device.js';
import { aReported } from '../fleet/device.fixture.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { buildProblem, type ProblemFacts } from './build-problem.js';
import { DEFAULT_BUDGETS } from './budgets.js';
import { costlessCopies } from './costless-copy.js';
import { aCatalogue, aGate, aMeasuredDevice, aMeasurement, FixedCosts } from './planning.fixture.js';
import { secondCopies } from './second-copies.js';

const NAMES = ['code', 'math'];
const catalogue = aCatalogue(NAMES);
const [PHONE, PI] = [0, 1];
const [CODE, MATH] = [0, 1];

interface Parts {
  readonly placed?: readonly (readonly [string, string])[];
  readonly phone?: Partial<Device>;
  readonly slots?: number;
}

function factsOf({ placed = [], phone = {}, slots = 2 }: Parts = {}, costs = new FixedCosts()): ProblemFacts {
  const measurements = [...catalogue.variants.keys()].map((variant) => aMeasurement(catalogue, variant));
  const reported = aReported({ slots, measurements });
  const fleet = new Map<DeviceId, Device>(
    [aMeasuredDevice('phone', catalogue, { reported, ...phone }), aMeasuredDevice('pi', catalogue, { reported })].map(
      (device) => [device.id, device],
    ),
  );
  return {
    fleet,
    catalogue,
    gate: aGate(NAMES),
    costs,
    workloads: new WorkloadModel(),
    demand: new Map(),
    budgets: DEFAULT_BUDGETS,
    placed: new Map(placed.map(([device, variant]) => [deviceId(device), [variantId(variant)]])),
  };
}

const problemOf = (facts: ProblemFacts): PlacementProblem => {
  const problem = buildProblem(facts);
  return { ...problem, classes: problem.classes.map((each) => ({ ...each, rate: 0.1, minServed: 0 })) };
};

/** Code on the phone and math on the pi, each asked for. */
const plan: Placement = {
  placement: [
    [PHONE, CODE, 1],
    [PI, MATH, 1],
  ],
  poweredOn: [
    [PHONE, 1],
    [PI, 1],
  ],
  routing: [
    { k: CODE, d: PHONE, v: CODE, rate: 0.02 },
    { k: MATH, d: PI, v: MATH, rate: 0.1 },
  ],
};

const added = (facts: ProblemFacts, problem = problemOf(facts), of = plan): readonly (readonly number[])[] => {
  const filled = secondCopies(problem, of, costlessCopies(facts, problem));
  expect(verifyPlacement(problem, filled).faults).toEqual([]);
  expect(filled.routing).toBe(of.routing);
  return filled.placement
    .filter(([d, v]) => !of.placement.some(([host, variant]) => host === d && variant === v))
    .map(([d, v]) => [d, v]);
};

const COPY_OF_MATH = [PHONE, MATH];
const COPY_OF_CODE = [PI, CODE];

describe('second copies', () => {
  it('lie in free memory of devices that are on, one of each variant in use', () => {
    const facts = factsOf();
    expect(added(facts)).toEqual([COPY_OF_MATH, COPY_OF_CODE]);
    expect(added(factsOf({ slots: 9 }))).toEqual([COPY_OF_MATH, COPY_OF_CODE]);
  });

  it('switch nothing on, and answer for nothing that nobody asks for', () => {
    const off: Placement = {
      placement: [[PI, MATH, 1]],
      poweredOn: [[PI, 1]],
      routing: [{ k: MATH, d: PI, v: MATH, rate: 0.1 }],
    };
    expect(added(factsOf(), undefined, off)).toEqual([]);
    const unused: Placement = { ...plan, routing: plan.routing.slice(0, 1) };
    expect(added(factsOf(), undefined, unused)).toEqual([COPY_OF_CODE]);
  });

  it('take no room from the rest: neither slots nor memory, as measured where that is more', () => {
    expect(added(factsOf({ slots: 1 }))).toEqual([]);
    const measurements = ['code-q8', 'math-q8'].map((id) => aMeasurement(catalogue, id));
    const tight = aReported({ slots: 2, measurements, memory: { budgetBytes: 1.5 * 2 ** 30, usedBytes: 0 } });
    expect(added(factsOf({ phone: { reported: tight } }))).toEqual([COPY_OF_CODE]);
    const larger = measurements.map((each) => ({ ...each, memoryBytes: 1.9e9 }));
    const swollen = aReported({ slots: 2, measurements: larger, memory: { budgetBytes: 3e9, usedBytes: 0 } });
    expect(added(factsOf({ phone: { reported: swollen } }))).toEqual([COPY_OF_CODE]);
  });

  it('keep to the bounds of the plan: what may be moved goes to what is asked for most', () => {
    const problem = problemOf(
      factsOf({
        placed: [
          ['phone', 'code-q8'],
          ['pi', 'math-q8'],
        ],
      }),
    );
    const bounded = (moveGiB: number) => ({ ...problem, budgets: { ...problem.budgets, moveGiB } });
    expect(added(factsOf(), bounded(1))).toEqual([COPY_OF_MATH]);
    expect(added(factsOf(), bounded(0.5))).toEqual([]);
  });

  it('stay where they are', () => {
    const costs = new FixedCosts();
    costs.latencyMs.set('third/math-q8', 100);
    const facts = factsOf({}, costs);
    const third = aMeasuredDevice('third', catalogue);
    const fleet = new Map([...facts.fleet, [third.id, third] as const]);
    const wider = { ...facts, fleet };
    const of = { ...plan, poweredOn: [...plan.poweredOn, [2, 1] as const] };
    const first = added(wider, problemOf(wider), of);
    expect(first).toContainEqual([2, MATH]);
    const held = { ...wider, placed: new Map([[deviceId('phone'), [variantId('math-q8')]]]) };
    expect(added(held, problemOf(held), of)).toContainEqual(COPY_OF_MATH);
    expect(added(held, problemOf(held), of)).not.toContainEqual([2, MATH]);
  });
});

describe('a copy costs something', () => {
  const measurements = ['code-q8', 'math-q8'].map((id) => aMeasurement(catalogue, id));
  const phoneThat = (parts: Parameters<typeof aReported>[0]): ProblemFacts =>
    factsOf({ phone: { reported: aReported({ slots: 2, measurements, ...parts }) } });
  const resident = [{ variantId: variantId('math-q8'), residency: 'resident' as const }];

  it.each([
    ['where its file would have to be fetched', { measurements: measurements.slice(0, 1) }],
    [
      'where another build of it was measured',
      { measurements: measurements.map((each) => ({ ...each, sha256: 'f'.repeat(64) })) },
    ],
    ['where storage is full', { storage: { freeBytes: 999 } }],
    ['on a device that spares itself', { governor: { strain: 0.2, reason: 'battery at 35 %' } }],
  ])('%s, and nothing where it is resident already', (_, parts) => {
    expect(added(phoneThat(parts))).toEqual([COPY_OF_CODE]);
    expect(added(phoneThat({ ...parts, variants: resident }))).toEqual([COPY_OF_MATH, COPY_OF_CODE]);
  });

  it('beside a mixture of experts whose slabs are read from storage', () => {
    const [code] = [...catalogue.variants.values()];
    if (code === undefined) throw new Error('the fixture has variants');
    const variants = new Map(catalogue.variants).set(code.id, { ...code, serving: { slabBudgetBytes: 1000 } });
    expect(added({ ...factsOf(), catalogue: { ...catalogue, variants } })).toEqual([]);
  });
});
