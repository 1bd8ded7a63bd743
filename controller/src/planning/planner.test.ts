import { ManualClock } from '@fleetgate/shared/clock';
import { classId, type DeviceId, deviceId, planId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { afterEach, describe, expect, it } from 'vitest';

import { aReported } from '../fleet/device.fixture.js';
import type { Device } from '../fleet/device.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { MemoryBudgetStore } from './budget-store.js';
import { DEFAULT_BUDGETS } from './budgets.js';
import { Demand } from './demand.js';
import { InlineOptimiser, type PlacementOptimiser } from './placement-optimiser.js';
import { placementsOf, poweredOn, spareCopies } from './plan-record.js';
import { MemoryPlanStore } from './plan-store.js';
import { Planner } from './planner.js';
import { aCatalogue, aGate, aMeasuredDevice, FixedCosts } from './planning.fixture.js';

const NAMES = ['code', 'math', 'story'];
const solver = new HighsSolver();

/** A planner on a fleet that the test changes by hand. */
class World {
  readonly clock = new ManualClock();
  readonly devices = new Map<DeviceId, Device>();
  readonly costs = new FixedCosts();
  readonly workloads = new WorkloadModel();
  readonly demand = new Demand();
  readonly plans = new MemoryPlanStore();
  readonly budgets = new MemoryBudgetStore();
  catalogue = aCatalogue(NAMES);
  gate = aGate(NAMES);
  optimiser: PlacementOptimiser = new InlineOptimiser({ exact: solver });
  solved = 0;
  planner = this.make();

  make(leads = true): Planner {
    return new Planner({
      leads: () => leads,
      fleet: { snapshot: () => new Map(this.devices) },
      catalogue: () => this.catalogue,
      gate: () => this.gate,
      costs: this.costs,
      workloads: this.workloads,
      demand: this.demand,
      plans: this.plans,
      budgets: this.budgets,
      optimiser: {
        ask: (question) => {
          if (question.kind === 'optimise') this.solved++;
          return this.optimiser.ask(question);
        },
        explain: (question) => this.optimiser.explain(question),
        close: async () => {},
      },
      clock: this.clock,
      random: new SeededRandom(this.clock.now()),
      log: silentLogger,
    });
  }

  join(id: string, parts: Partial<Device> = {}): void {
    this.devices.set(deviceId(id), aMeasuredDevice(id, this.catalogue, parts));
  }

  lose(id: string): void {
    const device = this.devices.get(deviceId(id));
    if (device !== undefined) this.devices.set(device.id, { ...device, presence: 'offline' });
  }

  /** Lets time go by in steps of a second, and every plan that falls due be finished. */
  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.clock.advance(1000);
      await this.settle();
    }
  }

  /** Everything of the planner waits its turn: when this returns, what was before it is done. */
  async settle(): Promise<void> {
    await this.planner.apply(planId('none')).catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
  }

  hosted(): Record<string, readonly string[]> {
    const active = this.planner.plans.active();
    return active === undefined ? {} : Object.fromEntries(placementsOf(active));
  }
}

let world = new World();
async function started(...devices: readonly string[]): Promise<World> {
  world = new World();
  for (const id of devices) world.join(id);
  await world.planner.start();
  await world.pass(5);
  return world;
}
afterEach(() => world.planner.stop());
/** Of the kept plans. */
const ids = (): readonly string[] => world.planner.plans.records().map(({ id }) => id);

/** `[device, variant]` of copies that the plan in force can do without. */
function copies(): readonly (readonly string[])[] {
  const active = world.planner.plans.active();
  if (active === undefined) return [];
  return [...spareCopies(active)].flatMap(([device, variants]) => [...variants].map((variant) => [device, variant]));
}

describe('planner', () => {
  it('makes one verified plan of three devices that join within a few seconds', async () => {
    world = new World();
    await world.planner.start();
    world.join('jetson');
    await world.pass(1);
    world.join('phone');
    await world.pass(1);
    world.join('pi');
    await world.pass(10);
    expect(world.solved).toBe(1);
    const active = world.planner.plans.active();
    expect(active).toMatchObject({ state: 'active', verified: true, trigger: 'first plan' });
    expect(active?.solution.status).toBe('optimal');
    expect(new Set(Object.values(world.hosted()).flat())).toEqual(new Set(['code-q8', 'math-q8', 'story-q8']));
    expect(world.planner.plans.views()[0]).toMatchObject({ state: 'active', verified: true, relaxations: null });
  });

  it('waits for devices that are being measured, but not for ever', async () => {
    world = new World();
    world.join('pi', { reported: aReported({ slots: 2 }) });
    await world.planner.start();
    await world.pass(60);
    expect(world.planner.plans.active()).toBeUndefined();
    await world.pass(70);
    expect(world.planner.plans.active()).toBeDefined();
  });

  it('plans again when a device is lost, after a moment of grace, and keeps the plan when it is soon back', async () => {
    await started('jetson', 'pi');
    const first = world.planner.plans.active();
    await world.pass(70);
    const host = Object.keys(world.hosted())[0] ?? '';
    world.lose(host);
    await world.pass(5);
    world.join(host);
    await world.pass(20);
    expect(world.planner.plans.active()?.id).toBe(first?.id);
    world.lose(host);
    await world.pass(20);
    expect(world.planner.plans.active()?.trigger).toContain(`device lost: ${host}`);
    expect(Object.keys(world.hosted())).not.toContain(host);
    expect(world.planner.plans.records().find(({ id }) => id === first?.id)?.state).toBe('superseded');
  });

  it('serves what it can when the rest of the fleet cannot keep the floors', async () => {
    await started('jetson', 'pi');
    await world.planner.setBudgets({
      ...DEFAULT_BUDGETS,
      defaultClass: { ...DEFAULT_BUDGETS.defaultClass, minReplicas: 2 },
    });
    await world.pass(70);
    world.lose('pi');
    await world.pass(20);
    expect(Object.keys(world.hosted())).toEqual(['jetson']);
    expect(world.planner.plans.active()?.trigger).toContain('given up');
    const rejected = world.planner.plans.records().find(({ state }) => state === 'rejected');
    expect(rejected?.solution.conflict).toContain('replicas');
  });

  it('serves what it can when more is asked than the floors allow, and keeps the old plan only where a person asked', async () => {
    await started('jetson', 'pi');
    const before = world.planner.plans.active();
    await world.pass(70);
    for (let n = 0; n < 4000; n++) world.demand.record(classId('math'), world.clock.now());
    await world.pass(70);
    const active = world.planner.plans.active();
    expect(active?.id).not.toBe(before?.id);
    expect(active?.trigger).toMatch(/demand drift; served share and replicas given up/);
  });

  it('rejects budgets that no plan can meet, says what conflicts and what would help, and keeps the old plan', async () => {
    await started('jetson', 'pi');
    const before = world.planner.plans.active();
    await world.planner.setBudgets({ ...DEFAULT_BUDGETS, fleetPowerW: 0.5 });
    await world.pass(3);
    expect(world.planner.plans.active()?.id).toBe(before?.id);
    const [newest] = world.planner.plans.views();
    expect(newest).toMatchObject({ state: 'rejected', status: 'infeasible', verified: false });
    expect(newest?.conflict).toContain('power');
    expect(newest?.relaxations?.map(({ text }) => text).join()).toMatch(/power budget 0.5 W -> \d/);
    const made = world.planner.plans.records().length;
    await world.pass(10);
    expect(world.planner.plans.records()).toHaveLength(made);
    await world.planner.setBudgets(DEFAULT_BUDGETS);
    await world.pass(3);
    expect(world.planner.plans.active()?.state).toBe('active');
  });

  it('meets a power budget by putting devices into standby', async () => {
    await started('jetson', 'pi', 'phone');
    await world.planner.setBudgets({
      ...DEFAULT_BUDGETS,
      fleetPowerW: 8.5,
      defaultClass: { ...DEFAULT_BUDGETS.defaultClass, minServed: 0 },
    });
    await world.pass(3);
    const active = world.planner.plans.active();
    if (active === undefined) throw new Error('no plan');
    expect(poweredOn(active).size).toBeLessThan(3);
    const power = world.planner.plans.views()[0]?.constraints.find(({ group }) => group === 'power');
    expect(power?.used).toBeLessThanOrEqual(8.5);
    // Three devices draw 2 W each even in standby.
    expect(power?.used).toBeGreaterThanOrEqual(6);
  });

  it('refuses bad budgets', async () => {
    await started('pi');
    await expect(world.planner.setBudgets({ ...DEFAULT_BUDGETS, fleetPowerW: -1 })).rejects.toMatchObject({
      code: 'budget.invalid',
    });
    await expect(world.planner.setBudgets({ ...DEFAULT_BUDGETS, fleetPowerMW: 1 })).rejects.toMatchObject({
      code: 'budget.invalid',
    });
  });

  it('has the same plan after a restart, also while the fleet is still coming back', async () => {
    await started('jetson', 'pi');
    const before = world.planner.plans.active();
    await world.planner.stop();
    const devices = new Map(world.devices);
    for (const id of devices.keys()) world.lose(id);
    const costs = world.costs.latencyMs;
    for (const pair of ['jetson/math-q8', 'pi/math-q8']) costs.set(pair, 2000);
    world.planner = world.make();
    await world.planner.start();
    expect(world.planner.plans.active()?.id).toBe(before?.id);
    await world.pass(30);
    for (const [id, device] of devices) world.devices.set(id, device);
    await world.pass(120);
    expect(world.planner.plans.active()?.id).toBe(before?.id);
  });

  it('leaves planning to the one that leads, and takes up its plans and budgets', async () => {
    world = await started('jetson', 'phone', 'pi');
    const first = world.planner;
    const follower = world.make(false);
    await follower.start();
    const budgets = { ...first.budgets(), fleetPowerW: 25 };
    await first.setBudgets(budgets);
    await world.pass(10);
    expect(follower.plans.active()?.id).not.toBe(first.plans.active()?.id);
    const told: (string | undefined)[] = [];
    follower.plans.active$.subscribe((record) => told.push(record?.id));
    await follower.reload();
    await follower.reload();
    expect(follower.budgets()).toEqual(first.budgets());
    expect(told.slice(1)).toEqual([first.plans.active()?.id]);
    await follower.stop();
  });

  it('keeps the old placement, newly routed, when a new device brings too little', async () => {
    await started('jetson', 'pi');
    const before = world.hosted();
    world.join('late');
    await world.pass(10);
    expect(world.solved).toBe(2);
    expect(world.planner.plans.active()?.trigger).toContain('same placement, newly routed');
    expect(world.hosted()).toEqual(before);
  });

  it('has second copies in memory that is free, says so, and leaves them where they are from plan to plan', async () => {
    await started('jetson', 'pi');
    const before = world.hosted();
    expect(Object.values(before).flat()).toHaveLength(4);
    const [copy] = copies();
    expect(world.planner.plans.views()[0]?.explanation.at(-1)).toContain(`second copies, so that answers outlive`);
    for (const name of ['math', 'story']) {
      for (let at = 0; at < 60; at++) world.demand.record(classId(name), world.clock.now());
      await world.pass(90);
      const [active] = world.planner.plans.views();
      expect(active).toMatchObject({ verified: true, trigger: expect.stringContaining('demand drift') as string });
      expect(world.hosted()).toEqual(before);
      expect(copies()).toEqual([copy]);
    }
  });

  it('does not plan again for what a second copy has come to cost', async () => {
    await started('jetson', 'pi');
    const [before, [copy = []]] = [world.planner.plans.active(), copies()];
    world.costs.latencyMs.set(copy.join('/'), 2000);
    await world.pass(400);
    expect(world.planner.plans.active()?.id).toBe(before?.id);
    for (const device of ['jetson', 'pi']) world.costs.latencyMs.set(`${device}/${copy[1] ?? ''}`, 2000);
    await world.pass(400);
    expect(world.planner.plans.active()?.trigger).toContain('cost drift');
  });

  it('gives up a second copy that no longer fits, and moves nothing else for it', async () => {
    await started('jetson', 'pi');
    const [[device = '', copy = ''] = []] = copies();
    const before = world.hosted();
    const measurements = world.devices.get(deviceId(device))?.reported?.measurements ?? [];
    world.join(device, {
      reported: aReported({ slots: 2, measurements, memory: { budgetBytes: 1.5 * 2 ** 30, usedBytes: 0 } }),
    });
    await world.pass(10);
    expect(world.planner.plans.active()?.trigger).toContain('same placement, newly routed');
    expect(world.hosted()).toEqual({ ...before, [device]: before[device]?.filter((variant) => variant !== copy) });
    expect(copies()).toEqual([]);
  });

  it('follows what is asked and what it costs with prices and figures, and lets a little drift pass', async () => {
    await started('jetson', 'pi');
    const [before, id] = [world.hosted(), world.planner.plans.active()?.id];
    const costs = world.costs.energyJ;
    for (const pair of ['jetson/math-q8', 'pi/math-q8']) costs.set(pair, 4.5);
    await world.pass(90);
    expect(world.planner.plans.active()?.id).toBe(id);
    for (let at = 0; at < 60; at++) world.demand.record(classId('math'), world.clock.now());
    await world.pass(90);
    const [active] = world.planner.plans.views();
    expect(active).toMatchObject({ state: 'active', trigger: expect.stringContaining('demand drift') as string });
    expect(world.hosted()).toEqual(before);
    const math = active?.routing.find((route) => route.classId === 'math');
    expect(math?.ratePerS).toBeGreaterThan(0.05);
    expect(math?.energyJ).toBe(4.5);
  });

  it('proposes without putting in force, applies, and rolls back', async () => {
    await started('jetson', 'pi');
    const first = world.planner.plans.active();
    const proposal = await world.planner.propose('requested', { ...DEFAULT_BUDGETS, maxVariants: 1 });
    expect(proposal.state).toBe('proposed');
    expect(world.planner.plans.active()?.id).toBe(first?.id);
    await world.planner.apply(proposal.id);
    expect(world.planner.plans.active()?.id).toBe(proposal.id);
    await world.pass(10);
    expect(world.planner.plans.active()?.id).toBe(proposal.id);
    await world.planner.rollback();
    expect(world.planner.plans.active()?.id).toBe(first?.id);
  });

  it('refuses to apply what is unknown, rejected or no longer fits the fleet', async () => {
    await started('jetson', 'pi');
    await expect(world.planner.apply(planId('nope'))).rejects.toMatchObject({ code: 'plan.unknown' });
    const rejected = await world.planner.propose('requested', { ...DEFAULT_BUDGETS, fleetPowerW: 0.5 });
    expect(rejected.state).toBe('rejected');
    await expect(world.planner.apply(rejected.id)).rejects.toMatchObject({ code: 'plan.infeasible' });
    const stale = await world.planner.propose('requested');
    for (const id of poweredOn(stale)) world.lose(id);
    await expect(world.planner.apply(stale.id)).rejects.toMatchObject({ code: 'plan.stale' });
    await expect(world.planner.rollback()).rejects.toMatchObject({ code: 'plan.unknown' });
  });

  it('plans again when the fleet changes while it plans', async () => {
    world = new World();
    world.join('jetson');
    world.join('pi');
    const inner = world.optimiser;
    world.optimiser = {
      ask: async (question) => {
        const plan = await inner.ask(question);
        if (world.solved === 1) {
          world.devices.delete(deviceId('jetson'));
          world.devices.delete(deviceId('pi'));
          world.join('phone');
        }
        return plan;
      },
      explain: (question) => inner.explain(question),
      close: async () => {},
    };
    await world.planner.start();
    await world.pass(8);
    expect(world.solved).toBe(2);
    expect(Object.keys(world.hosted())).toEqual(['phone']);
  });

  it('makes no plan of a fleet that is being stopped', async () => {
    await started('jetson', 'pi');
    await world.pass(70);
    const before = ids();
    // Something to plan for falls due just when the agents leave, the one after the other.
    for (const id of world.devices.keys()) for (const name of NAMES) world.costs.latencyMs.set(`${id}/${name}-q8`, 900);
    await world.pass(2);
    world.lose('jetson');
    await world.pass(4);
    world.lose('pi');
    await world.pass(4);
    await world.planner.stop();
    expect(ids()).toEqual(before);
  });

  it('records nothing more once it is told to stop while it solves', async () => {
    await started('jetson', 'pi');
    const before = ids();
    const inner = world.optimiser;
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => (go = resolve));
    world.optimiser = {
      ask: async (question) => (await gate, inner.ask(question)),
      explain: (question) => inner.explain(question),
      close: async () => {},
    };
    await world.planner.setBudgets({ ...DEFAULT_BUDGETS, fleetPowerW: 0.5 });
    const stopped = world.planner.stop();
    for (const id of [...world.devices.keys()]) world.lose(id);
    go();
    await stopped;
    expect(world.solved).toBe(2);
    expect(ids()).toEqual(before);
  });

  it('explains a plan by the names of its devices and variants', async () => {
    await started('jetson', 'pi');
    const plan = world.planner.plans.active();
    if (plan === undefined) throw new Error('no plan');
    const overview = await world.planner.explain(plan.id, { overview: true });
    expect(overview).toMatchObject({ prices: expect.any(Array), off: expect.any(Array), swaps: expect.any(Array) });
    const { device } = await world.planner.explain(plan.id, { device: 'pi' });
    expect(device?.text).toMatch(/^pi is o(n|ff): /);
    const swap = `pi:${NAMES[0]}-q8:${NAMES[1]}-q8`;
    expect((await world.planner.explain(plan.id, { swap })).swap?.text).toContain(' on pi: ');
    await expect(world.planner.explain(plan.id, { device: 'moon' })).rejects.toMatchObject({
      code: 'request.invalid',
      message: `plan ${plan.id} was made without the device "moon"`,
    });
  });

  it('survives a solver that breaks down and tries again', async () => {
    world = new World();
    world.join('pi');
    const inner = world.optimiser;
    let failures = 1;
    world.optimiser = {
      ask: (question) => (failures-- > 0 ? Promise.reject(new Error('boom')) : inner.ask(question)),
      explain: (question) => inner.explain(question),
      close: async () => {},
    };
    await world.planner.start();
    await world.pass(10);
    expect(world.planner.plans.active()).toBeUndefined();
    await world.pass(40);
    expect(world.planner.plans.active()).toBeDefined();
  });

  it('shows no plan that the store has not taken', async () => {
    world = new World();
    world.join('pi');
    world.plans.failNextSave = true;
    await world.planner.start();
    await world.pass(8);
    expect(world.planner.plans.active()).toBeUndefined();
    await world.pass(40);
    expect(world.planner.plans.active()).toBeDefined();
  });

  it('has nothing to propose without a gate or a device', async () => {
    world = new World();
    await world.planner.start();
    await expect(world.planner.propose('requested')).rejects.toMatchObject({ code: 'dispatch.no-plan' });
  });
});
