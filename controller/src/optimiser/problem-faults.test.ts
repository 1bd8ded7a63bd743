import { expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import type { PlacementProblem, ProblemDevice } from './problem.js';
import { problemFaults } from './problem-faults.js';

const fleet = smallFleet();
const [arc] = fleet.arcs;
if (arc === undefined) throw new Error('no arc');
const south = (change: Partial<ProblemDevice>, arcs = fleet.arcs): PlacementProblem => ({
  ...fleet,
  devices: fleet.devices.map((each, d) => (d === 1 ? { ...each, ...change } : each)),
  arcs,
});
const northern = fleet.arcs.filter(({ d }) => d === 0);
const modes = [
  { id: 'fast', idleW: 2 },
  { id: 'slow', idleW: 1 },
];
const like = { d: 0, slowness: 1, hunger: 1 };

it('has nothing to say on a sound problem', () => {
  expect(problemFaults(fleet)).toEqual([]);
  expect(problemFaults(south({ like }, northern))).toEqual([]);
  expect(problemFaults(south({ modes }, [...fleet.arcs, { ...arc, d: 1, m: 1 }]))).toEqual([]);
});

it.each<[string, PlacementProblem, string]>([
  ['a device', { ...fleet, arcs: [{ ...arc, d: 7 }] }, 'arcs.0.d: expected a device 0..1, got 7'],
  ['a variant', { ...fleet, arcs: [{ ...arc, v: 7 }] }, 'arcs.0.v: expected a variant 0..1, got 7'],
  ['a class', { ...fleet, arcs: [{ ...arc, k: 7 }] }, 'arcs.0.k: expected a class 0..1, got 7'],
  ['a mode', { ...fleet, arcs: [{ ...arc, m: 1 }] }, 'arcs.0.m: expected a mode 0..0, got 1'],
  ['a site', south({ site: 2 }), 'devices.1.site: expected a site 0..1, got 2'],
  ['a later device to be like', south({ like: { ...like, d: 1 } }, northern), 'devices.1.like.d: expected an earlier'],
  [
    'any class where there is none',
    { ...fleet, classes: [], arcs: [{ ...arc, k: 0 }] },
    'arcs.0.k: expected a class, but there is none, got 0',
  ],
  ['a hosted variant', { ...fleet, current: [[0, 9]] }, 'current.0.1: expected a variant 0..1, got 9'],
])('names %s that does not exist', (_, problem, fault) => {
  expect(problemFaults(problem).join('; ')).toContain(fault);
});

it.each<[string, PlacementProblem, string]>([
  ['arcs', { ...fleet, arcs: [...fleet.arcs, arc] }, 'arcs.8: device 0, variant 0, class 0 is given twice'],
  [
    'arcs of a mode',
    south({ modes }, [...fleet.arcs, { ...arc, d: 1, m: 1 }, { ...arc, d: 1, m: 1 }]),
    'mode 1 is given twice',
  ],
  ['devices', { ...fleet, devices: fleet.devices.map((each) => ({ ...each, id: 'd' })) }, 'devices.1.id: "d" is used'],
  ['modes', south({ modes: modes.map((mode) => ({ ...mode, id: 'fast' })) }), 'devices.1.modes.1.id: "fast" is used'],
  ['sites', { ...fleet, sites: [{ id: 's' }, { id: 's' }] }, 'sites.1.id: "s" is used twice'],
])('names %s that are given twice', (_, problem, fault) => {
  expect(problemFaults(problem).join('; ')).toContain(fault);
});

it('names likeness that leads nowhere', () => {
  expect(problemFaults(south({ like }))).toEqual(['devices.1: has arcs of its own and those of device 0']);
  expect(problemFaults(south({ like }, []))).toEqual(['devices.1.like.d: device 0 has no arcs']);
  expect(problemFaults(south({ like, modes }, northern))[0]).toContain('devices.1.modes: expected as many');
  const third = { ...south({ like }, northern).devices[1], id: 'third', like: { ...like, d: 1 } } as ProblemDevice;
  const chain = south({ like }, northern);
  expect(problemFaults({ ...chain, devices: [...chain.devices, third] })).toEqual([
    'devices.2.like.d: device 1 is itself like another',
  ]);
});

it('names numbers that are not finite, and a battery without a horizon', () => {
  const { horizon_s: _, ...budgets } = fleet.budgets;
  expect(problemFaults({ ...fleet, budgets })[0]).toContain('devices.0.battery_J: needs budgets.horizon_s');
  expect(problemFaults({ ...fleet, budgets: { ...fleet.budgets, powerW: Infinity } })).toEqual([
    'budgets.powerW: expected a finite number, got Infinity',
  ]);
  expect(problemFaults({ ...fleet, arcs: [{ ...arc, energy_J: NaN }] })).toEqual(['arcs.0: expected finite numbers']);
});

it('shows an id that is given twice as far as a person reads', () => {
  const id = `\u001b[31m${'x'.repeat(1000)}`;
  const [fault] = problemFaults({ ...fleet, classes: fleet.classes.map((each) => ({ ...each, id })) });
  expect(fault).toBe(`classes.1.id: "\\u001b[31m${'x'.repeat(34)}…" is used twice`);
});

it('lists no more faults than a person reads', () => {
  expect(problemFaults({ ...fleet, arcs: Array.from({ length: 100 }, () => ({ ...arc, d: 9 })) })).toHaveLength(8);
});
