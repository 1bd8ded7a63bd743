import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { buildExactModel } from './exact-model.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';

const exact = new HighsSolver();
const LIMITS = { timeLimitS: 20, gap: 0, method: 'milp' } as const;

const fleet = smallFleet({ movePenaltyPerGiB: 1 });
const modes = [
  { id: 'fast', idleW: 1, powerCapW: 3 },
  { id: 'slow', idleW: 0.5, powerCapW: 2 },
];
const tight = {
  ...fleet,
  classes: fleet.classes.map((each) => ({ ...each, sloMean_s: 0.5, maxEnergy_J: 1.5 })),
  devices: fleet.devices.map((device, d) => (d === 0 ? { ...device, modes } : device)),
};
const names = (model: ReturnType<typeof buildExactModel>) =>
  new Set(model.program.rowNames.map((name) => name?.replace(/:.*/, '')));

describe('the exact model', () => {
  it('has a name of its own for every row', () => {
    const model = buildExactModel(tight);
    expect(new Set(model.program.rowNames).size).toBe(model.program.rowLower.length);
    expect(names(model)).toEqual(
      new Set([
        ...['battery', 'devpower', 'energy', 'floor', 'host', 'latency', 'link', 'load', 'memory', 'modes', 'move'],
        ...['network', 'on', 'power', 'replica-host', 'replica-on', 'replicas', 'served', 'site-host', 'sitepower'],
        ...['sites', 'slots', 'strong', 'util', 'variants'],
      ]),
    );
    expect(model.program.rowNames).toEqual(
      expect.arrayContaining(['devpower:0,1', 'link:1,0', 'strong:1,0', 'sites:1']),
    );
  });

  it('is the same for a device that is like another and for one that repeats its arcs', () => {
    const alike = { d: 0, slowness: 1.5, hunger: 0.5 };
    const northern = tight.arcs.filter(({ d }) => d === 0);
    const devices = tight.devices.map((device) => ({ ...device, modes }));
    const repeated = northern.map((arc) => ({
      ...{ ...arc, d: 1, service_s: arc.service_s * 1.5, energy_J: arc.energy_J * 0.5 },
      ...{ latency_s: arc.latency_s * 1.5, p95_s: (arc.p95_s ?? 0) * 1.5 },
    }));
    const [first, last] = devices;
    if (first === undefined || last === undefined) throw new Error('no devices');
    const short = buildExactModel({ ...tight, devices: [first, { ...last, like: alike }], arcs: northern });
    const long = buildExactModel({ ...tight, devices, arcs: [...northern, ...repeated] });
    expect(short.program).toEqual(long.program);
  });

  it('says which column is which', () => {
    const model = buildExactModel(tight);
    expect(model.powered.map((columns) => columns.length)).toEqual([2, 1]);
    const columns = [...model.powered.flat(), ...model.copies, ...model.catalogue, ...model.shares];
    expect(columns.every((column) => column >= 0)).toBe(true);
    expect(new Set(columns).size).toBe(columns.length);
  });

  it('leaves out everything about copies when it is projected', () => {
    const model = buildExactModel(tight, { projected: true });
    expect(names(model)).toEqual(
      new Set([
        ...['battery', 'devpower', 'energy', 'floor', 'latency', 'link', 'modes', 'network', 'power', 'served'],
        ...['sitepower', 'strong', 'util', 'variants'],
      ]),
    );
    expect([...model.copies]).toEqual([-1, -1, -1, -1]);
  });

  it('is never below the optimum when it is projected', async () => {
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, async (problem) => {
        const plan = await optimise(problem, LIMITS, { exact });
        const answer = await exact.solve(buildExactModel(problem, { projected: true }).program, LIMITS);
        if (plan.objective === null) return;
        if (answer.status !== 'optimal') throw new Error(answer.status);
        expect(answer.objective).toBeGreaterThanOrEqual(plan.objective - 1e-6);
      }),
      { numRuns: 60, seed: 20260907 },
    );
  });
});
