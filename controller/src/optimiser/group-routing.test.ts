import { SeededRandom } from '@fleetgate/shared/random';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { unlikeFleets } from '../../../test/fixtures/instances/unlike-fleets.js';
import { groupRouting } from './group-routing.js';
import { HighsSolver } from './highs-solver.js';
import { meanArcs } from './mean-arcs.js';
import { modesOf } from './placement.js';
import type { PlacementProblem } from './problem.js';
import { quantilePools } from './quantile-pools.js';
import { routeOn } from './realise.js';
import type { LinearEngine } from './solver.js';
import type { Hosting } from './spread.js';
import { verifyPlacement } from './verify.js';

let engine: LinearEngine;

beforeAll(async () => {
  engine = await new HighsSolver().engine();
});

/** No bound that a placement alone would break, and power for most devices at once. */
const free = (problem: PlacementProblem): PlacementProblem => ({
  ...problem,
  classes: problem.classes.map((each) => ({ ...each, minServed: 0 })),
  sites: (problem.sites ?? []).map(({ powerW, ...site }) => ({ ...site, powerW: powerW === undefined ? null : 40 })),
  budgets: { ...problem.budgets, powerW: problem.budgets.powerW + 15, maxVariants: null, moveGiB: null },
  movePenaltyPerGiB: 0,
});

/** Most devices on in some mode; those of a pool hold what fits of either of two sets. */
function randomHosting(problem: PlacementProblem, poolOf: readonly number[], random: SeededRandom): Hosting {
  const below = (size: number) => Math.floor(random.uniform() * size);
  const sets = problem.devices.map(() => [0, 1].map(() => problem.variants.map(() => random.uniform() < 0.7)));
  const hosts = problem.devices.flatMap((device, d) => {
    if (random.uniform() < 0.2) return [];
    const set = sets[poolOf[d] ?? 0]?.[below(2)];
    let [slots, room] = [device.slots, device.memGiB];
    const held = problem.variants.flatMap(({ memGiB }, v) => {
      if (slots === 0 || memGiB > room || !(set?.[v] ?? false)) return [];
      slots--;
      room -= memGiB;
      return [v];
    });
    return [{ d, m: random.uniform() < 0.7 ? 0 : below(modesOf(device).length), held }];
  });
  const hosting = {
    placement: hosts.flatMap(({ d, held }) => held.map((v) => [d, v, 1] as [number, number, number])),
    poweredOn: hosts.map(({ d }) => [d, 1] as [number, number]),
  };
  if (!problem.devices.some(({ modes }) => modes !== undefined)) return hosting;
  const inModes = hosts.filter(({ d }) => problem.devices[d]?.modes !== undefined);
  return { ...hosting, modes: inModes.map(({ d, m }) => [d, m, 1] as [number, number, number]) };
}

describe('routing by groups', () => {
  it('is worth what its program says, keeps every bound, and is no better than routing device by device', () => {
    let [routed, grouped] = [0, 0];
    fc.assert(
      fc.property(unlikeFleets, fc.nat(), (fleet, seed) => {
        const problem = free(fleet);
        const { poolOf } = quantilePools(problem, 3);
        const hosting = randomHosting(problem, poolOf, new SeededRandom(seed));
        const routing = groupRouting(problem, hosting, poolOf);
        if (routing.model.arcs.length === 0) return;
        const session = engine.open(routing.model.program);
        const answer = session.solve(10);
        session.close();
        const single = routeOn(problem, hosting, engine);
        if (answer.status !== 'optimal') return;
        routed++;
        if (routing.problem.devices.length < hosting.poweredOn.length) grouped++;
        const check = verifyPlacement(problem, { ...hosting, routing: routing.read(answer.point) });
        expect(check.faults).toEqual([]);
        expect(check.objective).toBeCloseTo(answer.objective, 4);
        expect(check.objective).toBeLessThanOrEqual((single?.check.objective ?? -Infinity) + 1e-4);
        expect(routeOn(problem, hosting, engine, poolOf)?.check.objective).toBeCloseTo(answer.objective, 4);
      }),
      { numRuns: 150, seed: 20261051 },
    );
    expect(routed).toBeGreaterThan(40);
    expect(grouped).toBeGreaterThan(20);
  });
});

describe('the mean of devices', () => {
  it('serves as many requests in the same time, for the same energy, quality and waiting, as all of them together', () => {
    fc.assert(
      fc.property(unlikeFleets, fc.array(fc.nat(8), { minLength: 1, maxLength: 5 }), (problem, numbers) => {
        const members = [...new Set(numbers)].filter((d) => d < problem.devices.length);
        const arcsOf = (d: number) => meanArcs(problem, [d]);
        for (const mean of meanArcs(problem, members)) {
          const own = members.map((d) =>
            arcsOf(d).find((arc) => arc.v === mean.v && arc.k === mean.k && arc.m === mean.m),
          );
          const total = (value: (arc: typeof mean) => number) =>
            own.reduce((sum, arc) => sum + (arc === undefined ? NaN : value(arc) / arc.service_s), 0);
          const rate = members.length / mean.service_s;
          expect(total(() => 1)).toBeCloseTo(rate, 6);
          expect(total((arc) => arc.quality)).toBeCloseTo(rate * mean.quality, 6);
          expect(total((arc) => arc.energy_J)).toBeCloseTo(rate * mean.energy_J, 6);
          expect(total((arc) => arc.latency_s)).toBeCloseTo(rate * mean.latency_s, 6);
          expect(mean.p95_s ?? 0).toBeGreaterThanOrEqual(Math.max(...own.map((arc) => arc?.p95_s ?? 0)) - 1e-9);
        }
      }),
      { numRuns: 300, seed: 20261052 },
    );
  });
});
