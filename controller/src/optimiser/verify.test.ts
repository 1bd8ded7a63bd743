import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import type { PlacementPlan } from './plan.js';
import { problemFaults } from './problem-faults.js';
import { verify } from './verify.js';

const { problem } = referenceProblem('fleet-07-move-budget');
const plan = await optimise(problem, { timeLimitS: 20, gap: 0, method: 'auto' }, { exact: new HighsSolver() });
const faultsOf = (change: Partial<PlacementPlan>, of = problem) => verify(of, { ...plan, ...change }).faults.join('; ');

describe('verify', () => {
  it('passes the plan it is given', () => {
    expect(verify(problem, plan)).toMatchObject({ ok: true, faults: [] });
  });

  it.each<[string, Partial<PlacementPlan>, RegExp]>([
    ['a better objective than it has', { objective: (plan.objective ?? 0) + 1 }, /objective: stated/],
    ['a bound below its objective', { bound: 1 }, /bound: 1 is below/],
    ['optimality with a gap', { bound: (plan.bound ?? 0) + 1 }, /gap/],
    ['a device twice', { poweredOn: [...plan.poweredOn, ...plan.poweredOn.slice(0, 1)] }, /given twice/],
    ['half a copy', { placement: plan.placement.map(([d, v]) => [d, v, 0.5] as const) }, /not a count/],
    ['a device that does not exist', { placement: [...plan.placement, [99, 0, 1]] }, /unknown/],
    ['routing where nothing may go', { routing: [{ k: 99, d: 0, v: 0, rate: 1 }] }, /not allowed/],
    ['a negative rate', { routing: plan.routing.map((flow) => ({ ...flow, rate: -flow.rate })) }, /not a rate/],
    ['copies on devices that are off', { poweredOn: [] }, /0 powered devices/],
    ['requests to copies that are not there', { placement: [] }, /util: variant/],
    [
      'twice the demand served',
      { routing: plan.routing.map((flow) => ({ ...flow, rate: 2 * flow.rate })) },
      /demand: class/,
    ],
    ['nothing served', { routing: [] }, /demand of/],
  ])('refuses a plan that claims %s', (_, change, fault) => {
    expect(faultsOf(change)).toMatch(fault);
  });

  it.each([
    ['power', { ...problem, budgets: { ...problem.budgets, powerW: 1 } }],
    ['move', { ...problem, budgets: { ...problem.budgets, moveGiB: 0 } }],
    ['variants', { ...problem, budgets: { ...problem.budgets, maxVariants: 1 } }],
    ['latency', { ...problem, classes: problem.classes.map((each) => ({ ...each, sloMean_s: 0.01 })) }],
    ['energy', { ...problem, classes: problem.classes.map((each) => ({ ...each, maxEnergy_J: 0.01 })) }],
    ['replicas', { ...problem, classes: problem.classes.map((each) => ({ ...each, minReplicas: 99 })) }],
    ['memory', { ...problem, devices: problem.devices.map((device) => ({ ...device, memGiB: 0.01 })) }],
    ['slots', { ...problem, devices: problem.devices.map((device) => ({ ...device, slots: 0 })) }],
    ['devpower', { ...problem, devices: problem.devices.map((device) => ({ ...device, powerCapW: 0.01 })) }],
    ['util', { ...problem, devices: problem.devices.map((device) => ({ ...device, maxUtil: 0.01 })) }],
  ])('sees that %s is broken', (group, tighter) => {
    expect(faultsOf({}, tighter)).toContain(group);
  });
});

describe('problemFaults', () => {
  it('names indices that do not exist and duplicates', () => {
    const [arc] = problem.arcs;
    if (arc === undefined) throw new Error('no arc');
    expect(problemFaults(problem)).toEqual([]);
    expect(problemFaults({ ...problem, arcs: [...problem.arcs, { ...arc, d: 99 }] })[0]).toContain(
      'expected a device 0..7, got 99',
    );
    expect(problemFaults({ ...problem, arcs: [...problem.arcs, arc] })[0]).toContain('given twice');
    expect(problemFaults({ ...problem, current: [[0, 99]] })[0]).toContain('current.0.1');
  });
});
