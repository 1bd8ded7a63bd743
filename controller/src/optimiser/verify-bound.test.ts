import * as fc from 'fast-check';
import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import type { Certificate, CertificateNode, Prices } from './certificate.js';
import { nearPrices, priceNames, pricesOf, randomPrices, randomTree } from './certificate.fixture.js';
import { buildExactModel } from './exact-model.js';
import { exhaustive } from './exhaustive.js';
import { HighsSolver } from './highs-solver.js';
import { optimise } from './optimise.js';
import type { Placement } from './placement.js';
import type { PlacementPlan } from './plan.js';
import type { PlacementProblem } from './problem.js';
import { pricedBound } from './priced-bound.fixture.js';
import { verify, verifyPlacement } from './verify.js';
import { boundColumns } from './bound-columns.js';
import { type Domain, partBound, verifyBound } from './verify-bound.js';

const exact = new HighsSolver();
/** Far below what a wrong term would make, far above rounding. */
const ROUNDING = 1e-7;

/** What `bound` may not be below: the best of all placements, tried one by one. */
async function optimumOf(problem: PlacementProblem): Promise<number> {
  return (await exhaustive(problem, exact))?.objective ?? -Infinity;
}

/** Prices that prove the linear relaxation's optimum; none where it has no point. */
async function relaxationPrices(problem: PlacementProblem) {
  const { program } = buildExactModel(problem);
  const relaxed = { ...program, integer: new Uint8Array(program.integer.length) };
  const answer = await exact.solve(relaxed, { timeLimitS: 10, gap: 0 });
  if (answer.status !== 'optimal' || answer.rowDuals === undefined) return undefined;
  return pricesOf(program, answer.rowDuals);
}

/** Devices one by one, or in random pools. */
function randomPools(problem: PlacementProblem, random: SeededRandom): number[] {
  const isPooled = random.uniform() < 0.5;
  return problem.devices.map((_, d) => (isPooled ? Math.floor(random.uniform() * problem.devices.length) : d));
}

/** Whether some device of the pool has a row of that name; all, where the checker has it of devices that need none. */
function isRow(rows: ReadonlySet<string | undefined>, name: string, pools: readonly number[]): boolean {
  const [group = '', indices = ''] = name.split(':');
  const [first, ...rest] = indices.split(',');
  if (!/^(?:slots|memory|modes|devpower|battery|host|on|link|load|replica-on|replica-host)$/.test(group)) {
    return rows.has(name);
  }
  const members = [...pools.keys()].filter((d) => pools[d] === Number(first));
  const hasRow = (d: number) => rows.has(`${group}:${[d, ...rest].join(',')}`);
  return ['modes', 'slots', 'memory'].includes(group) ? members.every(hasRow) : members.some(hasRow);
}

/** Ranges of some decisions; none that is empty. */
function randomDomain(problem: PlacementProblem, random: SeededRandom): Domain {
  const domain = new Map<string, readonly [number, number]>();
  const range = (most: number) => {
    const low = Math.floor(random.uniform() * (most + 1));
    return [low, random.uniform() < 0.5 ? Infinity : low + Math.floor(random.uniform() * (most + 1 - low))] as const;
  };
  const share = random.uniform() / 2;
  const perhaps = (key: string, most: number) => {
    if (random.uniform() < share) domain.set(key, range(most));
  };
  problem.variants.forEach((_, v) => perhaps(`t${v}`, 1));
  problem.devices.forEach((_, u) => {
    for (const m of [0, 1]) perhaps(`a${u},${m}`, 2);
    problem.variants.forEach((__, v) => perhaps(`x${u},${v}`, 2));
  });
  return domain;
}

/** Whether the problem sets no bound of that name. */
function isAbsent({ classes, sites = [], budgets }: PlacementProblem, name: string): boolean {
  const [group = '', index = ''] = name.split(':');
  const i = Number(index.split(',')[0]);
  switch (group) {
    case 'move':
      return budgets.moveGiB === null;
    case 'link':
    case 'strong':
      return budgets.maxVariants === null;
    case 'energy':
      return (classes[i]?.maxEnergy_J ?? null) === null;
    case 'sitepower':
      return (sites[i]?.powerW ?? null) === null;
    case 'network':
      return (sites[i]?.networkBps ?? null) === null;
    case 'floor':
      return classes[i]?.rate === 0;
    default:
      return false;
  }
}

const sizeOf = (prices: Prices): number => Math.max(0, ...Object.values(prices));

describe('any prices give a true bound', () => {
  it('at the leaves of any tree, for devices and for pools, also where a part is said to be empty', async () => {
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, fc.nat(), async (problem, seed) => {
        const random = new SeededRandom(seed);
        const optimum = await optimumOf(problem);
        for (let i = 0; i < 40; i++) {
          const pools = randomPools(problem, random);
          const names = priceNames(problem, problem.devices.length);
          const leaf = (): CertificateNode => {
            const prices = randomPrices(names, random, 12);
            return random.uniform() < 0.2 ? { empty: prices } : { prices };
          };
          const tree = randomTree(problem, problem.devices.length, random, i % 5, leaf);
          const { bound } = verifyBound(boundColumns(problem, pools), { pools, tree });
          expect(bound).toBeGreaterThanOrEqual(optimum - ROUNDING * Math.max(1, Math.abs(optimum)));
        }
      }),
      { numRuns: 60, seed: 20260920 },
    );
  });

  it('also near those that prove most', async () => {
    let tight = 0;
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, fc.nat(), async (problem, seed) => {
        const random = new SeededRandom(seed);
        const [optimum, best] = [await optimumOf(problem), await relaxationPrices(problem)];
        if (best === undefined) return;
        const pools = problem.devices.map((_, d) => d);
        const columns = boundColumns(problem, pools);
        const proven = verifyBound(columns, { pools, tree: { prices: best } }).bound;
        if (proven < optimum + 1e-3) tight++;
        const leaf = (): CertificateNode => ({ prices: nearPrices(best, random) });
        for (let i = 0; i < 40; i++) {
          const tree = i === 0 ? { prices: best } : randomTree(problem, pools.length, random, i % 5, leaf);
          const { bound } = verifyBound(columns, { pools, tree });
          expect(bound).toBeGreaterThanOrEqual(optimum - ROUNDING * Math.max(1, Math.abs(optimum)));
        }
      }),
      { numRuns: 60, seed: 20260921 },
    );
    expect(tight).toBeGreaterThan(10);
  });
});

describe('the bound of prices', () => {
  it('is what a linear program makes of them, in every part, for devices and for pools', async () => {
    await fc.assert(
      fc.asyncProperty(tinyFeaturedProblem, fc.nat(), async (problem, seed) => {
        const random = new SeededRandom(seed);
        const rows = new Set(buildExactModel(problem).program.rowNames);
        for (let i = 0; i < 6; i++) {
          const pools = randomPools(problem, random);
          const names = priceNames(problem, problem.devices.length).filter((name) => isRow(rows, name, pools));
          const prices = randomPrices(names, random, 6);
          const domain = randomDomain(problem, random);
          const scale = random.uniform() < 0.3 ? 0 : 1;
          const bound = partBound(boundColumns(problem, pools), prices, domain, scale);
          const other = await pricedBound(problem, { prices, pools, domain, scale }, exact);
          if (other === -Infinity) continue;
          expect(Math.abs(bound - other)).toBeLessThanOrEqual(1e-7 * Math.max(1, sizeOf(prices), Math.abs(other)));
        }
      }),
      { numRuns: 80, seed: 20260922 },
    );
  });

  it('is that of nothing where copies are asked for of a variant that is out, or crowded out', () => {
    const problem = smallFleet({ budgets: { powerW: 100, maxVariants: 1, moveGiB: null } });
    const bound = (...ranges: (readonly [string, readonly [number, number]])[]) =>
      partBound(boundColumns(problem, [0, 1]), {}, new Map([['x0,0', [1, 2]], ...ranges]), 0);
    expect(bound()).toBe(0);
    expect(bound(['t0', [0, 0]])).toBe(-Infinity);
    expect(bound(['t1', [1, 1]])).toBe(-Infinity);
  });

  it('does not change with prices of bounds that the problem has not', () => {
    fc.assert(
      fc.property(tinyFeaturedProblem, fc.nat(), (problem, seed) => {
        const random = new SeededRandom(seed);
        const columns = boundColumns(problem, randomPools(problem, random));
        const names = priceNames(problem, problem.devices.length);
        const absent = names.filter((name) => isAbsent(problem, name));
        const prices = randomPrices(names, random, 6);
        const more = { ...prices, ...Object.fromEntries(absent.map((name) => [name, random.uniform()])) };
        const less = Object.fromEntries(Object.entries(prices).filter(([name]) => !absent.includes(name)));
        const domain = randomDomain(problem, random);
        expect(partBound(columns, more, domain, 1)).toBe(partBound(columns, less, domain, 1));
      }),
      { numRuns: 200, seed: 20260923 },
    );
  });
});

const small = referenceProblem('fleet-03-kappa2').problem;
const plan = await optimise(small, { timeLimitS: 20, gap: 0, method: 'auto' }, { exact });
const certificate = plan.certificate;
if (certificate === undefined) throw new Error('no certificate');
const columns = boundColumns(small, certificate.pools);
const boundOf = (change: Partial<Certificate>) => verifyBound(columns, { ...certificate, ...change });
const faultsOf = (change: Partial<PlacementPlan>) => verify(small, { ...plan, ...change }).faults.join('; ');

/** Every tree that is the same but for one node. */
function* changedOnce(
  node: CertificateNode,
  change: (node: CertificateNode) => readonly CertificateNode[],
): Iterable<CertificateNode> {
  yield* change(node);
  if (!('branch' in node)) return;
  for (const low of changedOnce(node.low, change)) yield { ...node, low };
  for (const high of changedOnce(node.high, change)) yield { ...node, high };
}

/** The same tree with other prices at its leaves. */
function repriced(node: CertificateNode, change: (prices: Prices) => Prices): CertificateNode {
  if ('prices' in node) return { prices: change(node.prices) };
  if ('empty' in node) return { empty: change(node.empty) };
  return { ...node, low: repriced(node.low, change), high: repriced(node.high, change) };
}

const scaled = (factor: number) => (prices: Prices) =>
  Object.fromEntries(Object.entries(prices).map(([name, price]) => [name, price * factor]));

describe('a certificate', () => {
  it.each([
    'fleet-01-plain',
    'fleet-03-kappa2',
    'fleet-05-redundancy3',
    'fleet-07-move-budget',
    'fleet-09-slo-tight',
    'fleet-13-symmetric',
  ])('of %s proves its bound', async (name) => {
    const { problem } = referenceProblem(name);
    const found = await optimise(problem, { timeLimitS: 20, gap: 1e-6, method: 'auto' }, { exact });
    if (found.certificate === undefined) throw new Error('no certificate');
    const proof = verifyBound(boundColumns(problem, found.certificate.pools), found.certificate);
    expect(proof.faults).toEqual([]);
    expect(proof.bound).toBeLessThanOrEqual((found.bound ?? 0) + 1e-6);
    expect(verify(problem, found)).toMatchObject({ ok: true, faults: [] });
  });

  it('proves less, or the same, without one of its parts, and the plan no longer holds', () => {
    const trees = [...changedOnce(certificate.tree, (node) => ('branch' in node ? [node.low, node.high] : []))];
    let caught = 0;
    for (const tree of trees) {
      const { bound } = boundOf({ tree });
      expect(bound).toBeGreaterThanOrEqual((plan.bound ?? 0) - 1e-6);
      if (bound <= (plan.bound ?? 0) + 1e-3) continue;
      caught++;
      expect(faultsOf({ certificate: { ...certificate, tree } })).toMatch(/certificate: it proves/);
    }
    expect(caught).toBeGreaterThan(0);
  });

  it('proves less with any of its prices half as high, and the plan no longer holds', () => {
    let changed = 0;
    for (const name of Object.keys(firstPrices(certificate.tree))) {
      const tree = repriced(certificate.tree, (prices) => ({ ...prices, [name]: (prices[name] ?? 0) / 2 }));
      const { bound } = boundOf({ tree });
      expect(bound).toBeGreaterThanOrEqual((plan.bound ?? 0) - 1e-6);
      if (bound <= (plan.bound ?? 0) + 1e-3) continue;
      changed++;
      expect(faultsOf({ certificate: { ...certificate, tree } })).toMatch(/certificate: it proves/);
    }
    expect(changed).toBeGreaterThan(0);
    const halved = repriced(certificate.tree, scaled(0.5));
    expect(faultsOf({ certificate: { ...certificate, tree: halved } })).toMatch(/certificate: it proves/);
  });

  it('does not hold for a bound below what it proves', () => {
    const modest = { bound: (plan.bound ?? 0) - 0.01, status: 'feasible', objective: plan.objective } as const;
    const less = { ...modest, routing: plan.routing.map((flow) => ({ ...flow, rate: flow.rate * 0.9999 })) };
    const { objective } = verifyPlacement(small, { ...plan, routing: less.routing });
    expect(faultsOf({ ...less, objective })).toMatch(/^certificate: it proves/);
  });

  it('is needed for a plan that is called optimal', () => {
    const { certificate: _, ...bare } = plan;
    expect(verify(small, bare).faults).toEqual(['certificate: an optimal plan needs one']);
  });

  it.each<[string, Partial<Certificate>, RegExp]>([
    ['pools for another number of devices', { pools: [0] }, /pools: 1 entries for 5 devices/],
    ['a pool that is no index', { pools: certificate.pools.map(() => 1e12) }, /pools: 1000000000000/],
    ['a pool between two', { pools: certificate.pools.map(() => 0.5) }, /pools: 0.5/],
    ['a branching that leaves whole numbers out', { tree: between(0.5) }, /branching at 0.5/],
    ['a branching at no number', { tree: between(NaN) }, /branching at NaN/],
    ['an empty part that is not', { tree: { empty: { 'floor:0': 1 } } }, /said to be empty/],
  ])('with %s proves nothing', (_, change, fault) => {
    const { bound, faults } = boundOf(change);
    expect(bound).toBe(Infinity);
    expect(faults.join('; ')).toMatch(fault);
    expect(faultsOf({ certificate: { ...certificate, ...change } })).toMatch(fault);
  });

  it.each<[string, Record<string, number>]>([
    ['names that no bound has', { 'joy:0': 1, constructor: 1, 'served:99': 1, 'strong:0,99': 1, 'served:-1': 1 }],
    ['prices below 0', { power: -1, 'served:0': -5 }],
    ['prices that are no numbers', { power: NaN, 'served:0': Infinity, 'floor:0': -Infinity }],
    ['prices of bounds that are not there', { move: 3, 'sitepower:0': 1, 'network:0': 1, 'energy:0': 1e3 }],
    ['prices too large to reckon with', { power: 1e300, 'floor:0': 1e300 }],
  ])('counts %s as nothing', (_, odd) => {
    expect(boundOf({ tree: { prices: odd } }).bound).toBe(boundOf({ tree: { prices: {} } }).bound);
    expect(boundOf({ tree: { empty: odd } }).faults[0]).toContain('said to be empty');
  });
});

/** All is free but the number of copies of the first variant, of which one number is in neither part. */
function between(at: number): CertificateNode {
  return { branch: { of: 'copies', u: 0, v: 0 }, at, low: { prices: {} }, high: { prices: {} } };
}

function firstPrices(node: CertificateNode): Prices {
  if ('branch' in node) return firstPrices(node.low);
  return 'prices' in node ? node.prices : node.empty;
}

describe('rounding', () => {
  const fleet = smallFleet();
  /** `law` needs all of the power that there is: 0.1 W are drawn anyway, 0.2 W serve it, and 0.1 + 0.2 > 0.3 to a computer. */
  const exactly: PlacementProblem = {
    ...fleet,
    classes: fleet.classes.slice(0, 1).map(({ id, rate, weight, sloMean_s }) => {
      return { id, rate, weight, sloMean_s, minServed: 1, minReplicas: 0 };
    }),
    devices: [{ id: 'd', memGiB: 8, slots: 2, maxUtil: 0.7, idleW: 0, powerCapW: null }],
    arcs: [{ d: 0, v: 0, k: 0, quality: 0.5, service_s: 0.1, energy_J: 0.2, latency_s: 0.3 }],
    budgets: { powerW: 0.3, baseW: 0.1, maxVariants: null, moveGiB: null },
  };
  const placement: Placement = {
    placement: [[0, 0, 1]],
    poweredOn: [[0, 1]],
    routing: [{ k: 0, d: 0, v: 0, rate: 1 }],
  };

  it.each([1, 1e4, 1e8, 1e10, 1e20, 1e100])('proves nothing wrong at prices around %s', (price) => {
    expect(verifyPlacement(exactly, placement)).toMatchObject({ ok: true, objective: 500 });
    const prices = { power: price, 'floor:0': 0.2 * price };
    const pools = [0];
    const bound = (tree: CertificateNode) => verifyBound(boundColumns(exactly, pools), { pools, tree }).bound;
    expect(bound({ prices })).toBeGreaterThanOrEqual(500 - 1e-3);
    expect(bound({ empty: prices })).toBe(Infinity);
  });
});
