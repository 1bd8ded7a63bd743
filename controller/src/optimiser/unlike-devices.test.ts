import { SeededRandom } from '@fleetgate/shared/random';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { unlikeFleets } from '../../../test/fixtures/instances/unlike-fleets.js';
import { boundColumns } from './bound-columns.js';
import { certify } from './certify.js';
import { buildExactModel } from './exact-model.js';
import { HighsSolver } from './highs-solver.js';
import type { LinearProgram } from './linear-program.js';
import { optimise } from './optimise.js';
import { searchPlacement } from './placement-search.js';
import { PoolPricing } from './pool-pricing.js';
import { quantilePools } from './quantile-pools.js';
import type { LinearEngine } from './solver.js';
import { verifyBound } from './verify-bound.js';
import { verify, verifyPlacement } from './verify.js';

const exact = new HighsSolver();
let engine: LinearEngine;

beforeAll(async () => {
  engine = await exact.engine();
});

const close = (value: number) => 1e-6 * Math.max(1, Math.abs(value));

/** The linear program's optimum with more columns; -Infinity where it has no point. */
function solved(program: LinearProgram, columns: Parameters<ReturnType<LinearEngine['open']>['addColumns']>[0] = []) {
  const session = engine.open(program);
  try {
    if (columns.length > 0) session.addColumns(columns);
    const answer = session.solve(10);
    return answer.status === 'optimal' ? answer : undefined;
  } finally {
    session.close();
  }
}

/** Prices as a tree of one part. */
const oneLeaf = (program: LinearProgram, duals: Float64Array) => ({
  program,
  root: { ranges: new Map(), bound: Infinity, proof: { duals }, split: undefined, graft: undefined },
});

describe('what devices that differ would do at prices', () => {
  it('bounds them as the checker does, at any prices', () => {
    fc.assert(
      fc.property(unlikeFleets, fc.nat(), (problem, seed) => {
        const random = new SeededRandom(seed);
        const pooling = quantilePools(problem, 3);
        const { program } = buildExactModel(pooling.problem, { projected: true });
        const pricing = new PoolPricing(problem, pooling, program);
        const sizes = [0, 1, 10, 1000];
        for (let i = 0; i < 10; i++) {
          const duals = program.rowUpper.map((upper) => {
            const size = (sizes[Math.floor(random.uniform() * sizes.length)] ?? 0) * random.uniform();
            return upper < Infinity ? size : -size;
          });
          const { bound } = pricing.respond(duals, new Int8Array(problem.variants.length), 0);
          const capacityOf = (u: number) => pooling.problem.devices[u]?.maxUtil ?? 1;
          const of = { pools: pooling.poolOf, capacityOf, emptySum: () => 0 };
          const certificate = certify(oneLeaf(program, duals), of);
          if (certificate === undefined) throw new Error('no certificate');
          const check = verifyBound(boundColumns(problem, pooling.poolOf), certificate);
          expect(check.faults).toEqual([]);
          // Of a device with modes the checker takes what it gains in each, at the price of being in but one.
          const isLooser = problem.devices.some(({ modes }) => modes !== undefined);
          expect(check.bound).toBeGreaterThanOrEqual(bound - close(bound));
          if (!isLooser) expect(check.bound).toBeLessThanOrEqual(bound + close(bound));
        }
      }),
      { numRuns: 60, seed: 20261031 },
    );
  });

  it('is between the program of mean devices and that of the devices one by one', () => {
    let asked = 0;
    fc.assert(
      fc.property(unlikeFleets, (problem) => {
        const pooling = quantilePools(problem, 3);
        const { program } = buildExactModel(pooling.problem, { projected: true });
        const [pooled, single] = [solved(program), solved(buildExactModel(problem, { projected: true }).program)];
        if (pooled === undefined) return;
        asked++;
        const most = single?.objective ?? -Infinity;
        expect(pooled.objective).toBeLessThanOrEqual(most + close(most));
        const pricing = new PoolPricing(problem, pooling, program);
        const { bound, columns } = pricing.respond(pooled.rowDuals, new Int8Array(problem.variants.length), 1e-6);
        expect(bound).toBeGreaterThanOrEqual(most - close(most));
        // What pools would rather do is worth more than what it takes, and is something that the devices can do.
        for (const { cost, entries } of columns) {
          expect(
            entries.reduce((sum, [row, value]) => sum - value * (pooled.rowDuals[row] ?? 0), cost),
          ).toBeGreaterThan(0);
        }
        const closer = solved(program, columns)?.objective ?? -Infinity;
        expect(closer).toBeGreaterThanOrEqual(pooled.objective - close(most));
        expect(closer).toBeLessThanOrEqual(most + close(most));
        if (columns.length === 0) expect(bound).toBeCloseTo(most, 3);
      }),
      { numRuns: 80, seed: 20261032 },
    );
    expect(asked).toBeGreaterThan(20);
  });
});

describe('the search on mean devices', () => {
  it('proves no bound below the best placement, and none below what it claims', async () => {
    let found = 0;
    await fc.assert(
      fc.asyncProperty(unlikeFleets, async (problem) => {
        const pooling = quantilePools(problem, 3);
        let nodes = 0;
        const effort = { gap: 1e-6, left: () => 400 - nodes++, mostNodes: 200, effort: 'full' } as const;
        const { best, tree, bound } = searchPlacement(problem, pooling, engine, effort, () => {});
        const plan = await optimise(problem, { timeLimitS: 0.5, gap: 1e-6, method: 'auto' }, { exact });
        const optimum = Math.max(plan.objective ?? -Infinity, best?.check.objective ?? -Infinity);
        if (tree === undefined) throw new Error('no tree');
        const columns = boundColumns(problem, pooling.poolOf);
        const capacityOf = (u: number) => pooling.problem.devices[u]?.maxUtil ?? 1;
        const certificate = certify(tree, { pools: pooling.poolOf, capacityOf, emptySum: () => -1 });
        if (certificate === undefined) return;
        const check = verifyBound(columns, certificate);
        expect(check.bound).toBeGreaterThanOrEqual(optimum - close(optimum));
        if (check.faults.length === 0) expect(bound).toBeGreaterThanOrEqual(optimum - close(optimum));
        if (best === undefined) return;
        found++;
        expect(verifyPlacement(problem, best.placement).faults).toEqual([]);
        expect(best.check.objective).toBeLessThanOrEqual((plan.bound ?? -Infinity) + close(optimum));
      }),
      { numRuns: 40, seed: 20261033 },
    );
    expect(found).toBeGreaterThan(10);
  });
});

it('finds what only the fastest device of each pool can do', async () => {
  const small = smallFleet();
  const [north] = small.devices;
  if (north === undefined) throw new Error('no device');
  // More kinds than there are pools: none is split, and the mean of its three is too slow.
  const devices = Array.from({ length: 135 }, (_, d) => {
    const like = { d: 0, slowness: d % 3 === 0 ? 1 + d / 2000 : 1.5 + d / 200, hunger: 1 };
    const each = { ...north, id: `device-${d}`, site: Math.floor(d / 3), powerCapW: null, battery_J: null };
    return d === 0 ? each : { ...each, like };
  });
  const problem = {
    ...small,
    devices,
    sites: Array.from({ length: 45 }, (_, s) => ({ id: `site-${s}`, powerW: 30 })),
    arcs: small.arcs.filter(({ d }) => d === 0),
    classes: small.classes.map((each) => ({ ...each, rate: 0.5, minSites: 0, sloMean_s: 0.35 })),
  };
  const plan = await optimise(problem, { timeLimitS: 10, method: 'auto' }, { exact });
  expect(plan.status).toBe('optimal');
  expect(verify(problem, plan).faults).toEqual([]);
});
