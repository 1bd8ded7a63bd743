import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { oneByOne, withoutLikeness } from '../../../test/fixtures/instances/one-by-one.js';
import { smallFleet } from '../../../test/fixtures/instances/small-fleet.js';
import { tinyFeaturedProblem } from '../../../test/fixtures/instances/tiny-problem.js';
import { HighsSolver } from './highs-solver.js';
import { answering } from './lying-solver.fixture.js';
import { optimise } from './optimise.js';
import type { PlacementPlan } from './plan.js';
import { exactPools } from './pools.js';
import type { PlacementProblem, ProblemDevice } from './problem.js';
import { routeOn } from './realise.js';
import type { LinearEngine } from './solver.js';
import { verify, verifyPlacement } from './verify.js';
import { WarmPlan } from './warm-plan.js';

const exact = new HighsSolver();
const LIMITS = { timeLimitS: 0.5, gap: 1e-9, method: 'auto' } as const;
let engine: LinearEngine;

beforeAll(async () => {
  engine = await exact.engine();
});

const counts = fc.array(fc.integer({ min: 2, max: 3 }), { minLength: 3, maxLength: 3 });
/** Fleets in which some devices are alike, each an entry of its own, with hardly a floor: most have a plan. */
const fleets = fc.tuple(tinyFeaturedProblem, counts).map(([tiny, of]) => {
  const classes = tiny.classes.map((each, k) => ({
    ...each,
    minServed: k === 0 ? 0.1 : 0,
    minReplicas: 0,
    minSites: 0,
  }));
  return oneByOne(withoutLikeness({ ...tiny, classes }), of);
});

/** With the devices of these numbers, in this order. */
function only(problem: PlacementProblem, kept: readonly number[]): PlacementProblem {
  const [devices, arcs, current] = [kept.flatMap((d) => problem.devices[d] ?? []), problem.arcs, problem.current];
  return {
    ...problem,
    devices: devices.map((device, i) =>
      kept.indexOf(kept[i] ?? -1) < i ? { ...device, id: `${device.id}.${i}` } : device,
    ),
    arcs: kept.flatMap((d, i) => arcs.filter((arc) => arc.d === d).map((arc) => ({ ...arc, d: i }))),
    current: kept.flatMap((d, i) => current.filter(([of]) => of === d).map(([, v]) => [i, v] as [number, number])),
  };
}

type Change = (problem: PlacementProblem, n: number) => PlacementProblem;

const all = ({ devices }: PlacementProblem) => [...devices.keys()];
const ofRate = (problem: PlacementProblem, factor: number): PlacementProblem => ({
  ...problem,
  classes: problem.classes.map((each) => ({ ...each, rate: each.rate * factor })),
});
const changes: Record<string, Change> = {
  'a device is lost': (problem, n) => only(problem, all(problem).filter((d) => d !== n % problem.devices.length)), // prettier-ignore
  'a device of a known kind has joined': (problem, n) => only(problem, [...all(problem), n % problem.devices.length]),
  'devices come in another order': (problem) => only(problem, all(problem).toReversed()),
  'rates have moved': (problem, n) => ofRate(problem, 0.5 + n / 8),
  'budgets have moved': (problem, n) => ({
    ...problem,
    budgets: { ...problem.budgets, powerW: problem.budgets.powerW * (0.6 + n / 8), maxVariants: 1 + (n % 3) },
  }),
  'bounds of classes have moved': (problem, n) => ({
    ...problem,
    classes: problem.classes.map((each) => ({
      ...each,
      sloMean_s: each.sloMean_s * (0.6 + n / 8),
      minReplicas: n % 2,
    })),
  }),
};

const kinds = (problem: PlacementProblem) => exactPools(problem).members.length;

/** Undefined where there is no plan to keep. */
async function warmOf(problem: PlacementProblem, of = engine): Promise<WarmPlan | undefined> {
  return WarmPlan.of(problem, await optimise(problem, LIMITS, { exact }), of);
}

describe('a plan made again from a warm one', () => {
  it.each(Object.entries(changes))('keeps every bound, and its own is true, when %s', async (_, change) => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fleets, fc.nat(7), async (problem, n) => {
        const warm = await warmOf(problem);
        const changed = change(problem, n);
        const plan = warm?.replan(changed);
        if (plan === undefined) return;
        made++;
        expect(verify(changed, plan).faults).toEqual([]);
        const cold = await optimise(changed, LIMITS, { exact });
        const margin = 1e-6 * Math.max(1, cold.objective ?? 0);
        expect(plan.bound).toBeGreaterThanOrEqual((cold.objective ?? Infinity) - margin);
        expect(plan.objective).toBeLessThanOrEqual((cold.bound ?? -Infinity) + margin);
      }),
      { numRuns: 10, seed: 20261011 },
    );
    expect(made).toBeGreaterThan(1);
  });

  it('is as good as the first one when nothing has changed, again and again', async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fleets, async (problem) => {
        const warm = await warmOf(problem);
        const [first, second] = [warm?.replan(problem), warm?.replan(problem)];
        if (first === undefined) return;
        made++;
        expect(second?.objective).toBeCloseTo(first.objective ?? NaN, 6);
        expect(second?.bound).toBeCloseTo(first.bound ?? NaN, 6);
      }),
      { numRuns: 15, seed: 20261012 },
    );
    expect(made).toBeGreaterThan(1);
  });

  it('starts from the last one: devices may go one after the other, and come back', async () => {
    const fleet = oneByOne(smallFleet({ movePenaltyPerGiB: 1 }), [3, 3]);
    const warm = await warmOf(fleet);
    let left = all(fleet);
    for (const lost of [1, 0, 3, -1]) {
      left = lost < 0 ? all(fleet).toReversed() : left.filter((_, d) => d !== lost);
      const problem = only(fleet, left);
      const plan = warm?.replan(problem);
      expect(plan?.objective).toBeGreaterThan(0);
      expect(plan === undefined ? [] : verify(problem, plan).faults).toEqual([]);
    }
  });

  it('is no worse than the last placement on the devices that are left', async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fleets, fc.nat(9), async (problem, n) => {
        const plan = await optimise(problem, LIMITS, { exact });
        const warm = WarmPlan.of(problem, plan, engine);
        const lost = plan.poweredOn[n % Math.max(1, plan.poweredOn.length)]?.[0];
        if (warm === undefined || lost === undefined) return;
        const routed = warm.reroute(new Set([lost]));
        const left = only(problem, all(problem).filter((d) => d !== lost)); // prettier-ignore
        const replanned = warm.replan(left);
        if (routed === undefined || kinds(left) < kinds(problem)) return;
        made++;
        expect(replanned?.objective).toBeGreaterThanOrEqual(routed.check.objective - 1e-4);
      }),
      { numRuns: 80, seed: 20261015 },
    );
    expect(made).toBeGreaterThan(3);
  });

  it('keeps the catalogue', async () => {
    const { budgets } = smallFleet();
    const fleet = oneByOne(smallFleet({ budgets: { ...budgets, maxVariants: 1, powerW: 4.5 } }), [2, 2]);
    const first = await optimise(fleet, LIMITS, { exact });
    const plan = WarmPlan.of(fleet, first, engine)?.replan(ofRate(fleet, 1.2));
    const catalogue = ({ placement }: PlacementPlan) => [...new Set(placement.map(([, v]) => v))];
    expect(catalogue(first).length).toBe(1);
    expect(plan === undefined ? [] : catalogue(plan)).toEqual(catalogue(first));
  });

  it.each<[string, Change]>([
    ['slower than any before', (problem) => slowed(problem)],
    ['larger than any before', (problem) => withLast(problem, (device) => ({ ...device, memGiB: device.memGiB + 1 }))],
    ['the last of its kind that is gone', (problem) => only(problem, kindsWithout(problem))],
  ])('is not made where a device is %s', async (_, change) => {
    const fleet = oneByOne(smallFleet(), [2, 2]);
    const [last] = fleet.devices.slice(-1);
    const mixed = withLast(fleet, (device) => ({ ...device, slots: (last?.slots ?? 0) + 1 }));
    const warm = await warmOf(mixed);
    expect(warm?.replan(mixed)).toBeDefined();
    expect(warm?.replan(change(mixed, 0))).toBeUndefined();
    expect(warm?.replan(mixed)).toBeDefined();
  });
});

function withLast(problem: PlacementProblem, change: (device: ProblemDevice) => ProblemDevice): PlacementProblem {
  const last = problem.devices.length - 1;
  return { ...problem, devices: problem.devices.map((device, d) => (d === last ? change(device) : device)) };
}

function slowed(problem: PlacementProblem): PlacementProblem {
  const last = problem.devices.length - 1;
  return {
    ...problem,
    arcs: problem.arcs.map((arc) => (arc.d === last ? { ...arc, service_s: arc.service_s * 1.001 } : arc)),
  };
}

const kindsWithout = (problem: PlacementProblem) => all(problem).slice(0, -1);

describe('a warm plan', () => {
  it('is not kept of a plan without placement or proof, nor of pools of devices that differ', async () => {
    const problem = smallFleet();
    const plan = await optimise(problem, LIMITS, { exact });
    const { certificate, ...unproven } = plan;
    if (certificate === undefined) throw new Error('no certificate');
    expect(WarmPlan.of(problem, plan, engine)).toBeDefined();
    expect(WarmPlan.of(problem, unproven, engine)).toBeUndefined();
    expect(WarmPlan.of(problem, { ...plan, objective: null }, engine)).toBeUndefined();
    const pools = certificate.pools.map(() => 0);
    const apart = withLast(problem, (device) => ({ ...device, idleW: device.idleW * 1.01 }));
    expect(WarmPlan.of(apart, { ...plan, certificate: { ...certificate, pools } }, engine)).toBeUndefined();
  });

  it('that is broken off leaves nothing behind: no open program, and the plan of before', async () => {
    const fleet = oneByOne(smallFleet(), [2, 3]);
    const left = only(fleet, all(fleet).slice(1));
    const fair = (await warmOf(fleet))?.replan(left);
    expect(fair?.objective).toBeGreaterThan(0);
    for (let healthy = 0; healthy < 3; healthy++) {
      const faulty = breaking(engine);
      const warm = await warmOf(fleet, faulty.engine);
      faulty.state.healthy = healthy;
      const broken = warm?.replan(left);
      expect(broken === undefined).toBe(healthy < 2);
      faulty.state.healthy = Infinity;
      expect(warm?.replan(left)).toMatchObject({ objective: fair?.objective, bound: fair?.bound });
      expect(faulty.state.open).toBe(0);
    }
  });
});

/** An engine whose sessions stop once so many have been solved. */
function breaking(truth: LinearEngine) {
  const state = { healthy: Infinity, open: 0 };
  const open: LinearEngine['open'] = (program) => {
    const session = truth.open(program);
    state.open++;
    return {
      ...answering(session, (answer) => (state.healthy-- > 0 ? answer : { status: 'stopped' })),
      close: () => {
        state.open--;
        session.close();
      },
    };
  };
  return { state, engine: { open } };
}

describe('routing around lost devices', () => {
  it('is the best over the copies that are left, and touches nothing that is lost', async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fleets, fc.array(fc.nat(9), { maxLength: 2 }), async (problem, numbers) => {
        const plan = await optimise(problem, LIMITS, { exact });
        const warm = WarmPlan.of(problem, plan, engine);
        if (warm === undefined) return;
        const lost = new Set(numbers.flatMap((i) => plan.poweredOn[i % plan.poweredOn.length]?.[0] ?? []));
        const routed = warm.reroute(lost);
        const isLeft = ([d]: readonly number[]) => !lost.has(d ?? -1);
        const left = {
          placement: plan.placement.filter(isLeft),
          poweredOn: plan.poweredOn.filter(isLeft),
          ...(plan.modes === undefined ? {} : { modes: plan.modes.filter(isLeft) }),
        };
        // Device by device, from nothing.
        const single = routeOn(problem, left, engine);
        expect(routed === undefined).toBe(single === undefined);
        if (routed === undefined || single === undefined) return;
        made++;
        expect(routed.check.objective).toBeCloseTo(single.check.objective, 4);
        const { placement, poweredOn, routing } = routed.placement;
        expect([...placement, ...poweredOn, ...routing.map(({ d }) => [d])].every(isLeft)).toBe(true);
        expect(verifyPlacement(problem, routed.placement).faults).toEqual([]);
        if (lost.size === 0) expect(routed.check.objective).toBeCloseTo(plan.objective ?? NaN, 4);
      }),
      { numRuns: 20, seed: 20261014 },
    );
    expect(made).toBeGreaterThan(5);
  });
});
