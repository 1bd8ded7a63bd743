import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { oneByOne, withoutLikeness } from '../../../test/fixtures/instances/one-by-one.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import { exactPools, noPools, poolsLike } from './pools.js';
import type { PlacementProblem, ProblemArc, ProblemDevice } from './problem.js';
import { verify } from './verify.js';

const solvers = { exact: new HighsSolver() };
const LIMITS = { timeLimitS: 20, gap: 1e-9, method: 'auto' } as const;

const [north] = smallFleet().devices;
if (north === undefined) throw new Error('no device');
const twin = { ...north, id: 'north-2' };
const ofNorth = smallFleet().arcs.filter(({ d }) => d === 0);

/** Two devices alike in everything, in one site, and what a test changes of the second. */
function twins(
  change: Partial<ProblemDevice> = {},
  arcs: (arc: ProblemArc) => readonly ProblemArc[] = (arc) => [arc],
  of: Partial<PlacementProblem> = {},
): PlacementProblem {
  return smallFleet({
    devices: [north ?? twin, { ...twin, ...change }],
    arcs: [...ofNorth, ...ofNorth.flatMap((arc) => arcs({ ...arc, d: 1 }))],
    budgets: { powerW: 100, maxVariants: 2, moveGiB: null, horizon_s: 3600 },
    ...of,
  });
}

const only = (field: object) => (arc: ProblemArc) => [arc.v === 0 && arc.k === 0 ? { ...arc, ...field } : arc];
const poolOf = (problem: PlacementProblem) => exactPools(problem).poolOf;

describe('exactPools', () => {
  it('makes one entry of devices that are alike, with the count of both', () => {
    const problem = twins({ count: 3 });
    const pooling = exactPools(problem);
    expect(pooling).toMatchObject({ poolOf: [0, 0], members: [[0, 1]], isExact: true });
    expect(pooling.problem.devices).toEqual([{ ...north, count: 4 }]);
    expect(pooling.problem.arcs).toEqual(ofNorth);
  });

  it.each<[string, Partial<ProblemDevice>]>([
    ['memory', { memGiB: 9 }],
    ['slots', { slots: 1 }],
    ['share of time', { maxUtil: 0.6 }],
    ['idle power', { idleW: 1.001 }],
    ['power cap', { powerCapW: null }],
    ['battery', { battery_J: 36_001 }],
    ['power modes', { modes: [{ id: 'only', idleW: 1 }] }],
    ['site', { site: 1 }],
    ['likeness', { like: { d: 0, slowness: 1.01, hunger: 1 } }],
  ])('keeps devices of another %s apart', (_, change) => {
    expect(poolOf(twins(change, change.like === undefined ? undefined : () => []))).toEqual([0, 1]);
  });

  it.each<[string, (arc: ProblemArc) => readonly ProblemArc[]]>([
    ['quality', only({ quality: 0.901 })],
    ['service time', only({ service_s: 0.201 })],
    ['energy', only({ energy_J: 2.001 })],
    ['latency', only({ latency_s: 0.601 })],
    ['95th percentile', only({ p95_s: 1.201 })],
    ['unknown 95th percentile', ({ p95_s: _p95, ...arc }) => [arc]],
    ['arcs for one class less', (arc) => (arc.k === 1 ? [] : [arc])],
    ['no arcs at all', () => []],
  ])('keeps devices of another %s apart', (_, arcs) => {
    expect(poolOf(twins({}, arcs))).toEqual([0, 1]);
  });

  it('does not mind in which order arcs are given', () => {
    const problem = twins();
    expect(poolOf({ ...problem, arcs: problem.arcs.toReversed() })).toEqual([0, 0]);
  });

  it('makes one entry of devices that are like another to the same degree', () => {
    const like = { d: 0, slowness: 1.1, hunger: 0.9 };
    const devices = [north, { ...twin, like }, { ...twin, id: 'north-3', like }];
    const pooling = exactPools({ ...twins(), devices, arcs: ofNorth });
    expect(pooling.poolOf).toEqual([0, 1, 1]);
    expect(pooling.problem.devices.map(({ like: own, count }) => [own, count])).toEqual([
      [undefined, 1],
      [undefined, 2],
    ]);
    expect(pooling.problem.arcs[5]).toMatchObject({ d: 1, quality: 0.9, service_s: 0.2 * 1.1, energy_J: 2 * 0.9 });
  });

  it.each<[string, Partial<PlacementProblem>, boolean]>([
    ['no site has a bound', {}, false],
    ['a site has a cap', { sites: [{ id: 'n', powerW: 9 }, { id: 's' }] }, true],
    ['a site has an uplink', { sites: [{ id: 'n' }, { id: 's', networkBps: 9 }] }, true],
    ['a class asks for two sites', { classes: smallFleet().classes }, true],
  ])('tells sites apart, or not, where %s', (_, of, isApart) => {
    const classes = smallFleet().classes.map((each) => ({ ...each, minSites: 0 }));
    const problem = twins({ site: 1 }, undefined, { sites: [{ id: 'n' }, { id: 's' }], classes, ...of });
    const pooling = exactPools(problem);
    expect(pooling.members.length).toBe(isApart ? 2 : 1);
    if (!isApart) expect(pooling.problem.devices[0]).not.toHaveProperty('site');
  });

  it.each<[string, PlacementProblem['current'], Partial<PlacementProblem>, number]>([
    ['moves are free', [[1, 0]], {}, 1],
    ['moves cost', [[1, 0]], { movePenaltyPerGiB: 1 }, 2],
    ['moves have a budget', [[1, 0]], { budgets: { powerW: 9, maxVariants: null, moveGiB: 3, horizon_s: 1 } }, 2],
    ['both hold the same', [[0, 0], [1, 0]], { movePenaltyPerGiB: 1 }, 1], // prettier-ignore
    ['they hold different variants', [[0, 1], [1, 0]], { movePenaltyPerGiB: 1 }, 2], // prettier-ignore
  ])('minds what devices hold, or not, where %s', (_, current, of, pools) => {
    const pooling = exactPools(twins({}, undefined, { current, ...of }));
    expect(pooling.members.length).toBe(pools);
    const held = pools === 2 || current.length === 2 ? current : [];
    expect(pooling.problem.current).toEqual(held.map(([d, v]) => [pooling.poolOf[d], v]));
  });

  it('is not fooled by arcs whose hashes are equal', () => {
    const [first, second] = collision();
    expect(poolOf(single(first, second))).toEqual([0, 1]);
  });
});

describe('poolsLike', () => {
  it('keeps the numbers of the other, whatever the order of the devices', () => {
    const problem = twins({ memGiB: 9 });
    const other = exactPools(problem);
    const [first, last] = problem.devices;
    if (first === undefined || last === undefined) throw new Error('no devices');
    const turned: PlacementProblem = {
      ...problem,
      devices: [last, first, { ...last, id: 'more' }],
      arcs: [...ofNorth, ...ofNorth.map((arc) => ({ ...arc, d: 1 })), ...ofNorth.map((arc) => ({ ...arc, d: 2 }))],
    };
    const pooling = poolsLike(turned, other, problem);
    expect(pooling).toMatchObject({ poolOf: [1, 0, 1], members: [[1], [0, 2]] });
    expect(pooling?.problem.devices.map(({ memGiB, count }) => [memGiB, count])).toEqual([
      [8, 1],
      [9, 2],
    ]);
  });

  it('is undefined for a kind that the other has not, and where one has died out', () => {
    const [alike, apart] = [twins(), twins({ memGiB: 9 })];
    expect(poolsLike(apart, exactPools(alike), alike)).toBeUndefined();
    expect(poolsLike(alike, exactPools(apart), apart)).toBeUndefined();
    const [first, second] = collision();
    const known = single(first, first);
    expect(poolsLike(single(first, second), exactPools(known), known)).toBeUndefined();
  });
});

/** Two devices of one arc each, of these qualities. */
function single(first: number, second: number): PlacementProblem {
  const arc = { v: 0, k: 0, service_s: 0.2, energy_J: 2, latency_s: 0.6 };
  return { ...twins(), arcs: [first, second].map((quality, d) => ({ ...arc, d, quality })) };
}

/** Two qualities for which the arc of `single` has one hash (FNV-1a over the figures' words, as in `pools.ts`). */
function collision(): [number, number] {
  const figures = new Float64Array(8);
  const words = new Uint32Array(figures.buffer);
  const seen = new Map<number, number>();
  for (let i = 1; i < 1_000_000; i++) {
    figures.set([0, 0, 0, i / 1_000_003, 0.2, 2, 0.6, -1]);
    let hash = 0x811c9dc5;
    for (const word of words) hash = Math.imul(hash ^ word, 0x01000193);
    const known = seen.get(hash);
    if (known !== undefined) return [known / 1_000_003, i / 1_000_003];
    seen.set(hash, i);
  }
  throw new Error('no two hashes are equal');
}

const counts = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 3, maxLength: 3 });

const counted = (problem: PlacementProblem, of: readonly number[]): PlacementProblem => ({
  ...problem,
  devices: problem.devices.map((device, d) => ({ ...device, count: of[d] ?? 1 })),
});

/** One slot that every variant fits into, and no bound of a single device: then a pool is no more than its devices. */
const oneSlot = (problem: PlacementProblem): PlacementProblem => ({
  ...problem,
  devices: problem.devices.map(({ modes: _modes, battery_J: _battery, ...device }) => {
    return { ...device, slots: 1, memGiB: 4, powerCapW: null };
  }),
  arcs: problem.arcs.filter(({ m = 0 }) => m === 0),
});

describe('a fleet given device by device', () => {
  it('is worth what it is worth given with counts, when every device has one slot', async () => {
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, counts, async (tiny, of) => {
        const problem = oneSlot(withoutLikeness(tiny));
        const [single, pooled] = [oneByOne(problem, of), counted(problem, of)];
        const [plan, other] = [await optimise(single, LIMITS, solvers), await optimise(pooled, LIMITS, solvers)];
        expect(verify(single, plan).faults).toEqual([]);
        expect(verify(pooled, other).faults).toEqual([]);
        expect(plan.status).toBe(other.status);
        expect(plan.objective ?? -1).toBeCloseTo(other.objective ?? -1, 4);
      }),
      { numRuns: 60, seed: 20260930 },
    );
  });

  it('is never worth more than is proven of it given with counts, nor of pools that are each a device', async () => {
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, counts, async (tiny, of) => {
        const problem = withoutLikeness(tiny);
        const [single, pooled] = [oneByOne(problem, of), counted(problem, of)];
        const limits = { ...LIMITS, timeLimitS: 2 };
        const [plan, other] = [await optimise(single, limits, solvers), await optimise(pooled, limits, solvers)];
        expect(verify(single, plan).faults).toEqual([]);
        expect(verify(pooled, other).faults).toEqual([]);
        if (plan.objective === null) return;
        expect(other.status).not.toBe('infeasible');
        expect(plan.objective).toBeLessThanOrEqual((other.bound ?? -Infinity) + 1e-6 * Math.max(1, plan.objective));
      }),
      { numRuns: 40, seed: 20260931 },
    );
  });

  it('is itself when no two are pooled', () => {
    const problem = twins();
    expect(noPools(problem)).toEqual({ problem, poolOf: [0, 1], members: [[0], [1]], isExact: true });
  });
});
