import { describe, expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import type { Placement } from './placement.js';
import type { ConstraintGroup } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { problemFaults } from './problem-faults.js';
import { verifyPlacement } from './verify.js';

const fleet = smallFleet();
/** `large` answers all of `code` in the north, `small` all of `law` in the south. */
const plan: Placement = {
  placement: [
    [0, 0, 1],
    [1, 1, 1],
  ],
  poweredOn: [
    [0, 1],
    [1, 1],
  ],
  routing: [
    { k: 0, d: 0, v: 0, rate: 1 },
    { k: 1, d: 1, v: 1, rate: 1 },
  ],
};

const faultsOf = (problem: PlacementProblem, of: Placement = plan) => {
  expect(problemFaults(problem)).toEqual([]);
  return verifyPlacement(problem, of).faults;
};
/** `latency of code: 0.6 against 0.5 s` is a fault of `latency`. */
const groupsOf = (faults: readonly string[]) => [...new Set(faults.map((fault) => fault.split(/[ :]/)[0]))];
const code = (change: object): PlacementProblem => ({
  ...fleet,
  classes: fleet.classes.map((each, k) => (k === 0 ? { ...each, ...change } : each)),
});
const north = (change: object): PlacementProblem => ({
  ...fleet,
  devices: fleet.devices.map((each, d) => (d === 0 ? { ...each, ...change } : each)),
});
const site = (change: object): PlacementProblem => ({
  ...fleet,
  sites: (fleet.sites ?? []).map((each, s) => (s === 0 ? { ...each, ...change } : each)),
});
const budget = (change: object): PlacementProblem => ({ ...fleet, budgets: { ...fleet.budgets, ...change } });

describe('a plan that keeps all bounds but one', () => {
  it('is sound before anything is tightened', () => {
    expect(faultsOf(fleet)).toEqual([]);
  });

  it.each<[ConstraintGroup, PlacementProblem, PlacementProblem]>([
    ['util', north({ maxUtil: 0.2 }), north({ maxUtil: 0.199 })],
    ['slots', north({ slots: 1 }), north({ slots: 0 })],
    ['memory', north({ memGiB: 4 }), north({ memGiB: 3.99 })],
    ['latency', code({ sloMean_s: 0.6 }), code({ sloMean_s: 0.599 })],
    ['tail', code({ sloP95_s: 1.2 }), code({ sloP95_s: 1.199 })],
    ['energy', code({ maxEnergy_J: 2 }), code({ maxEnergy_J: 1.999 })],
    ['power', budget({ powerW: 5 }), budget({ powerW: 4.999 })],
    ['power', budget({ powerW: 5.5, baseW: 0.5 }), budget({ powerW: 5.5, baseW: 0.501 })],
    ['sitepower', site({ powerW: 3 }), site({ powerW: 2.999 })],
    ['devpower', north({ powerCapW: 3 }), north({ powerCapW: 2.999 })],
    ['battery', north({ battery_J: 10_800 }), north({ battery_J: 10_799 })],
    ['network', site({ networkBps: 1000 }), site({ networkBps: 999 })],
    ['replicas', code({ minReplicas: 2 }), code({ minReplicas: 3 })],
    ['replicas', code({ minSites: 2 }), code({ minSites: 3 })],
    ['variants', budget({ maxVariants: 2 }), budget({ maxVariants: 1 })],
    ['move', budget({ moveGiB: 5 }), budget({ moveGiB: 4.99 })],
  ])('breaks %s and nothing else', (group, just, broken) => {
    expect(faultsOf(just)).toEqual([]);
    expect(groupsOf(faultsOf(broken))).toEqual([group]);
  });

  it('breaks demand and nothing else', () => {
    const [first, second] = plan.routing;
    if (first === undefined || second === undefined) throw new Error('no routing');
    expect(groupsOf(faultsOf(fleet, { ...plan, routing: [{ ...first, rate: 0.49 }, second] }))).toEqual(['demand']);
    expect(groupsOf(faultsOf(fleet, { ...plan, routing: [{ ...first, rate: 1.01 }, second] }))).toEqual(['demand']);
  });
});

describe('replicas', () => {
  it('are only copies that keep the bound on the 95th percentile', () => {
    // `small` keeps 1 s, `large` does not: one device hosts.
    const problem = { ...fleet, classes: fleet.classes.map((each) => ({ ...each, minServed: 0, minReplicas: 2 })) };
    expect(faultsOf(problem, { ...plan, routing: [] })).toEqual([]);
    const tight = { ...problem, classes: problem.classes.map((each) => ({ ...each, sloP95_s: 1 })) };
    expect(groupsOf(faultsOf(tight, { ...plan, routing: [] }))).toEqual(['replicas']);
  });

  it('of a pool in one site count once as sites, of a pool without a site each by itself', () => {
    const pool: Placement = { placement: [[0, 0, 2]], poweredOn: [[0, 2]], routing: [{ k: 0, d: 0, v: 0, rate: 1 }] };
    const [first] = fleet.devices;
    if (first === undefined) throw new Error('no device');
    const law = { minReplicas: 0, minSites: 0, minServed: 0 };
    const { classes } = code({ minReplicas: 2, minSites: 2 });
    const problem = (device: object): PlacementProblem => ({
      ...fleet,
      classes: classes.map((each, k) => (k === 1 ? { ...each, ...law } : each)),
      devices: [{ ...first, ...device }],
      arcs: fleet.arcs.filter(({ d }) => d === 0),
    });
    expect(verifyPlacement(problem({ count: 2 }), pool).faults).toEqual(['replicas of code: 1 against 2 sites']);
    expect(verifyPlacement(problem({ count: 2, site: undefined }), pool).faults).toEqual([]);
  });
});

describe('power modes', () => {
  const modes = [
    { id: 'fast', idleW: 1, powerCapW: 3 },
    { id: 'slow', idleW: 0.5 },
  ];
  const slow = fleet.arcs.filter(({ d, v, k }) => d === 0 && v === 0 && k === 0).map((arc) => ({ ...arc, m: 1 }));
  const problem: PlacementProblem = { ...north({ modes }), arcs: [...fleet.arcs, ...slow] };
  const [first, second] = plan.routing;
  if (first === undefined || second === undefined) throw new Error('no routing');

  it('are chosen for every device that has them, one each', () => {
    expect(faultsOf(problem, { ...plan, modes: [[0, 0, 1]] })).toEqual([]);
    expect(faultsOf(problem)).toEqual(['modes of device 0: 0 for 1 that are on']);
    const both = [[0, 0, 1] as const, [0, 1, 1] as const];
    expect(faultsOf(problem, { ...plan, modes: both })).toEqual(['modes of device 0: 2 for 1 that are on']);
    expect(faultsOf(problem, { ...plan, modes: [[0, 2, 1]] })).toContain('mode 2 of device 0: unknown');
    expect(faultsOf(problem, { ...plan, modes: [...both, [1, 0, 1]] })).toContain('mode 0 of device 1: unknown');
  });

  it('serve only what is routed to them', () => {
    const routing = [{ ...first, m: 1 }, second];
    expect(faultsOf(problem, { ...plan, routing, modes: [[0, 1, 1]] })).toEqual([]);
    expect(groupsOf(faultsOf(problem, { ...plan, routing, modes: [[0, 0, 1]] }))).toEqual(['util']);
    const twice = { ...plan, routing: [first, { ...first, m: 1, rate: 0 }, second], modes: [[0, 0, 1] as const] };
    expect(faultsOf(problem, twice)).toEqual([]);
  });

  it('have their own idle and cap', () => {
    const draws = verifyPlacement(problem, { ...plan, routing: [{ ...first, m: 1 }, second], modes: [[0, 1, 1]] }).uses;
    expect(draws.find(({ group }) => group === 'power')?.used).toBeCloseTo(4.5, 9);
    expect(draws.filter(({ group }) => group === 'devpower').map(({ subject }) => subject)).toEqual(['south-1']);
  });
});

it('scales the arcs of a device that is like another', () => {
  const [first, last] = fleet.devices;
  if (first === undefined || last === undefined) throw new Error('no devices');
  const problem: PlacementProblem = {
    ...fleet,
    devices: [first, { ...last, like: { d: 0, slowness: 2, hunger: 3 } }],
    arcs: fleet.arcs.filter(({ d }) => d === 0),
  };
  expect(faultsOf(problem)).toEqual([]);
  const used = (group: ConstraintGroup, subject: string) =>
    verifyPlacement(problem, plan).uses.find((use) => use.group === group && use.subject === subject)?.used;
  expect(used('util', 'south-1')).toBeCloseTo(0.2, 12);
  expect(used('latency', 'law')).toBeCloseTo(0.6, 12);
  expect(used('tail', 'law')).toBeCloseTo(1.2, 12);
  expect(used('energy', 'law')).toBeCloseTo(3, 12);
  expect(used('sitepower', 'south')).toBeCloseTo(4, 12);
});
