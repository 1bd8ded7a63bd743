import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { planId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { afterAll, describe, expect, it } from 'vitest';

import { referenceProblem } from '../../../test/fixtures/instances/reference-instances.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { optimise } from '../optimiser/optimise.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { MemoryBudgetStore } from './budget-store.js';
import { DEFAULT_BUDGETS } from './budgets.js';
import type { PlanRecord } from './plan-record.js';
import { documentOf, KEPT_PLANS, type KeptPlans, LEAST_PLANS, MemoryPlanStore } from './plan-store.js';
import { planningSchema, SqliteBudgetStore, SqlitePlanStore } from './sqlite-plan-store.js';

const { problem } = referenceProblem('fleet-01-plain');
const solution = await optimise(problem, { timeLimitS: 10, gap: 0, method: 'auto' }, { exact: new HighsSolver() });
const record = (id: string, createdAt: number, state: PlanRecord['state'] = 'proposed'): PlanRecord => ({
  id: planId(id),
  state,
  createdAt: unixMs(createdAt),
  activatedAt: state === 'active' ? unixMs(createdAt + 1) : undefined,
  trigger: 'requested',
  budgets: DEFAULT_BUDGETS,
  problem,
  solution,
  verified: true,
  circumstances: {
    devices: {},
    variants: ['a@b'],
    gate: 'g',
    budgets: DEFAULT_BUDGETS,
    demand: { math: 0.1 },
    answers: { a: 0.5 },
    costs: { 'pi/a': 3 },
  },
});

const folders: string[] = [];
const closers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closers) await close();
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function sqlite(kept?: KeptPlans) {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-plans-'));
  folders.push(folder);
  const database = await openDatabase(join(folder, 'control.sqlite'), [planningSchema]);
  closers.push(() => database.close());
  return { plans: new SqlitePlanStore(database, kept), budgets: new SqliteBudgetStore(database), database };
}
const memory = async (kept?: KeptPlans) => ({ plans: new MemoryPlanStore(kept), budgets: new MemoryBudgetStore() });

describe.each([
  ['memory', memory],
  ['sqlite', sqlite],
])('%s plan store', (_, open) => {
  it('gives back what was saved, newest first', async () => {
    const { plans } = await open();
    expect(await plans.load()).toEqual([]);
    await plans.save([record('old', 1), record('new', 3)]);
    await plans.save([record('middle', 2, 'active')]);
    expect(await plans.load()).toEqual([record('new', 3), record('middle', 2, 'active'), record('old', 1)]);
  });

  it('replaces a plan of the same id, with the others of the same call', async () => {
    const { plans } = await open();
    await plans.save([record('a', 1, 'active'), record('b', 2)]);
    await plans.save([record('a', 1, 'superseded'), record('b', 2, 'active')]);
    expect((await plans.load()).map(({ id, state }) => `${id} ${state}`)).toEqual(['b active', 'a superseded']);
  });

  it('puts the later saved of one instant first', async () => {
    const { plans } = await open();
    await plans.save([record('a', 1)]);
    await plans.save([record('b', 1)]);
    expect((await plans.load()).map(({ id }) => id)).toEqual(['b', 'a']);
  });

  it('forgets the oldest of those that are too large together, but for the newest and the active plan', async () => {
    const size = documentOf(record('p', 1)).length;
    for (const [mostCharacters, left] of [
      [8 * size + 1, 8],
      [1, LEAST_PLANS],
    ] as const) {
      const { plans } = await open({ most: 50, mostCharacters });
      await plans.save([record('first', 0, 'active')]);
      for (let at = 1; at <= 12; at++) await plans.save([record(`p${at}`, at)]);
      const kept = await plans.load();
      expect(kept.map(({ id }) => id)).toEqual([
        ...Array.from({ length: left }, (_each, at) => `p${12 - at}`),
        'first',
      ]);
    }
  });

  it('forgets the oldest but never the active plan', async () => {
    const { plans } = await open();
    await plans.save([record('first', 0, 'active')]);
    await plans.save(Array.from({ length: KEPT_PLANS.most + 5 }, (_, i) => record(`p${i}`, i + 1)));
    const kept = await plans.load();
    expect(kept).toHaveLength(KEPT_PLANS.most + 1);
    expect(kept.at(-1)).toEqual(record('first', 0, 'active'));
    expect(kept[0]?.id).toBe(`p${KEPT_PLANS.most + 4}`);
  });

  it('keeps the budgets', async () => {
    const { budgets } = await open();
    expect(await budgets.load()).toBeUndefined();
    await budgets.save(DEFAULT_BUDGETS);
    const tighter = { ...DEFAULT_BUDGETS, fleetPowerW: 12, classes: { math: { minServed: 1 } } };
    await budgets.save(tighter);
    expect(await budgets.load()).toEqual(tighter);
  });
});

it('leaves out a plan of another release instead of failing', async () => {
  const { plans, database } = await sqlite();
  await plans.save([record('a', 1), record('b', 2)]);
  await database.write((manager) => manager.query(`UPDATE plan SET document = '{"schema":"other"}' WHERE id = 'b'`));
  expect((await plans.load()).map(({ id }) => id)).toEqual(['a']);
});
