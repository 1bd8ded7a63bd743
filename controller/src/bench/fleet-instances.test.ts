import { describe, expect, it } from 'vitest';

import { problemFaults } from '../optimiser/problem-faults.js';
import { placementProblemSchema } from '../optimiser/problem.js';
import { fleetProblem, type FleetShape } from './fleet-instances.js';

const shape: FleetShape = {
  devices: 100,
  variants: 20,
  classes: 16,
  kappa: 5,
  seed: 1,
  jitter: 'none',
  modes: false,
  sites: 0,
};
const changes: readonly Partial<FleetShape>[] = [
  {},
  { devices: 10, variants: 6, classes: 6, kappa: 3 },
  { devices: 100_000 },
  { jitter: 'like' },
  { sites: 4 },
  { modes: true },
  { devices: 10, jitter: 'like', modes: true, sites: 3 },
];

describe('fleetProblem', () => {
  it.each(changes)('makes a sound problem of exactly as many devices: %j', (change) => {
    const problem = fleetProblem({ ...shape, ...change });
    expect(placementProblemSchema.safeParse(problem).error).toBeUndefined();
    expect(problemFaults(problem)).toEqual([]);
    const devices = problem.devices.reduce((total, { count = 1 }) => total + count, 0);
    expect(devices).toBe(change.devices ?? shape.devices);
    expect(problem.classes.every(({ rate }) => rate > 0)).toBe(true);
  });

  it('makes the same problem from the same options, another from another seed', () => {
    for (const change of changes)
      expect(fleetProblem({ ...shape, ...change })).toEqual(fleetProblem({ ...shape, ...change }));
    expect(fleetProblem({ ...shape, seed: 2 }).arcs).not.toEqual(fleetProblem(shape).arcs);
  });

  it('keeps models, classes and their proportions when the fleet grows', () => {
    const [small, large] = [fleetProblem(shape), fleetProblem({ ...shape, devices: 1000 })];
    expect(large.variants).toEqual(small.variants);
    expect(large.classes.map(({ sloMean_s }) => sloMean_s)).toEqual(small.classes.map(({ sloMean_s }) => sloMean_s));
    large.classes.forEach(({ rate }, k) => expect(rate / (small.classes[k]?.rate ?? 0)).toBeCloseTo(10, 0));
  });

  it('gives every device of a jittered fleet its own speed and hunger, within a tenth, and arcs to one of each pool', () => {
    const { devices, arcs } = fleetProblem({ ...shape, jitter: 'like' });
    const followers = devices.flatMap(({ like }) => like ?? []);
    const useful = new Set(arcs.map(({ d }) => d));
    for (const { d } of followers) expect(useful).toContain(d);
    expect(followers.length).toBeGreaterThan(70);
    expect(new Set(followers.map(({ slowness }) => slowness)).size).toBeGreaterThan(60);
    for (const { slowness, hunger } of followers) {
      expect(Math.max(Math.abs(slowness - 1), Math.abs(hunger - 1))).toBeLessThanOrEqual(0.1);
    }
  });
});
