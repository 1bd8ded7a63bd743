import type { Budgets } from '@fleetgate/shared/api/operations';
import { planId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { EntitySchema } from 'typeorm';
import { z } from 'zod';

import { placementProblemSchema } from '../optimiser/problem.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { Database, DatabaseSchema } from '../platform/database.js';
import type { BudgetStore } from './budget-store.js';
import { budgetsSchema, parseBudgets } from './budgets.js';
import { type Circumstances, circumstancesSchema } from './circumstances.js';
import { PlanningTables1764000002000 } from './planning-tables.migration.js';
import type { PlanRecord } from './plan-record.js';
import { documentOf, KEPT_PLANS, type KeptPlans, LEAST_PLANS, type PlanStore } from './plan-store.js';

interface PlanRow {
  id: string;
  state: string;
  createdAtMs: number;
  activatedAtMs: number | null;
  trigger: string;
  verified: number;
  document: string;
}
interface BudgetRow {
  id: number;
  document: string;
}

const planEntity = new EntitySchema<PlanRow>({
  name: 'Plan',
  tableName: 'plan',
  columns: {
    id: { type: 'text', primary: true },
    state: { type: 'text' },
    createdAtMs: { type: 'integer' },
    activatedAtMs: { type: 'integer', nullable: true },
    trigger: { type: 'text' },
    verified: { type: 'integer' },
    document: { type: 'text' },
  },
});

const budgetEntity = new EntitySchema<BudgetRow>({
  name: 'Budget',
  tableName: 'budget',
  columns: { id: { type: 'integer', primary: true }, document: { type: 'text' } },
});

export const planningSchema: DatabaseSchema = {
  entities: [planEntity, budgetEntity],
  migrations: [PlanningTables1764000002000],
};

const FORGET = `DELETE FROM plan WHERE state <> 'active' AND id NOT IN (
  SELECT id FROM (
    SELECT id, row_number() OVER newest AS place, sum(length(document)) OVER newest AS characters FROM plan
    WINDOW newest AS (ORDER BY createdAtMs DESC, rowid DESC ROWS UNBOUNDED PRECEDING)
  ) AS ranked WHERE place <= ? AND (place <= ${LEAST_PLANS} OR characters <= ?))`;

/** Plans in the control database. */
export class SqlitePlanStore implements PlanStore {
  readonly #database: Database;
  readonly #kept: KeptPlans;

  constructor(database: Database, kept = KEPT_PLANS) {
    this.#database = database;
    this.#kept = kept;
  }

  async load(): Promise<readonly PlanRecord[]> {
    // Plans of the same millisecond come in the order in which they were saved.
    const rows: PlanRow[] = await this.#database.source.query(
      'SELECT * FROM plan ORDER BY createdAtMs DESC, rowid DESC',
    );
    return rows.flatMap((row) => fromRow(row) ?? []);
  }

  async save(records: readonly PlanRecord[]): Promise<void> {
    if (records.length === 0) return;
    await this.#database.write(async (manager) => {
      for (const record of records) await manager.upsert(planEntity, toRow(record), ['id']);
      await manager.query(FORGET, [this.#kept.most, this.#kept.mostCharacters]);
    });
  }
}

/** The budgets in the control database: one row. */
export class SqliteBudgetStore implements BudgetStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async load(): Promise<Budgets | undefined> {
    const row = await this.#database.source.getRepository(budgetEntity).findOneBy({ id: 1 });
    return row === null ? undefined : parseBudgets(JSON.parse(row.document));
  }

  async save(budgets: Budgets): Promise<void> {
    await this.#database.write((manager) =>
      manager.upsert(budgetEntity, { id: 1, document: JSON.stringify(budgets) }, ['id']),
    );
  }
}

const documentSchema = z.object({
  budgets: budgetsSchema,
  problem: placementProblemSchema,
  solution: z.looseObject({ schema: z.literal('fleet-plan/1') }),
  circumstances: circumstancesSchema,
});
const stateSchema = z.enum(['proposed', 'active', 'superseded', 'rejected']);

function toRow(record: PlanRecord): PlanRow {
  return {
    id: record.id,
    state: record.state,
    createdAtMs: record.createdAt,
    activatedAtMs: record.activatedAt ?? null,
    trigger: record.trigger,
    verified: record.verified ? 1 : 0,
    document: documentOf(record),
  };
}

/** A plan of an earlier release that no longer parses is left out: the planner makes a new one. */
function fromRow(row: PlanRow): PlanRecord | undefined {
  const document = documentSchema.safeParse(JSON.parse(row.document));
  const state = stateSchema.safeParse(row.state);
  if (!document.success || !state.success) return undefined;
  const { budgets, problem, solution, circumstances } = document.data;
  return Object.freeze({
    id: planId(row.id),
    state: state.data,
    createdAt: unixMs(row.createdAtMs),
    activatedAt: row.activatedAtMs === null ? undefined : unixMs(row.activatedAtMs),
    trigger: row.trigger,
    verified: row.verified === 1,
    budgets: budgets as Budgets,
    problem,
    // Written by ourselves and marked with its schema; the independent checker runs again before it is carried out.
    solution: solution as unknown as PlacementPlan,
    circumstances: circumstances as Circumstances,
  });
}
