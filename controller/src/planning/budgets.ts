import type { Budgets, ClassBudget } from '@fleetgate/shared/api/operations';
import { check } from '@fleetgate/shared/check';
import { z } from 'zod';

const classBudgetSchema = z
  .object({
    latencyMeanMs: z.number().positive().max(3_600_000),
    energyJ: z.number().positive().max(1e9).nullable(),
    minServed: z.number().min(0).max(1),
    minReplicas: z.number().int().min(0).max(1_000_000),
    weight: z.number().positive().max(1e6),
  })
  .strict();

/** Budgets as a person sets them; unknown keys are faults, so that a typing error cannot pass as "no bound". */
export const budgetsSchema = z
  .object({
    fleetPowerW: z.number().positive().max(1e9).nullable(),
    maxVariants: z.number().int().positive().max(100_000).nullable(),
    moveBytes: z.number().nonnegative().max(1e18).nullable(),
    defaultClass: classBudgetSchema,
    classes: z.record(z.string().max(80), classBudgetSchema.partial()),
  })
  .strict();

/** Generous bounds that hold on any board that is able to run the experts at all. */
export const DEFAULT_BUDGETS: Budgets = {
  fleetPowerW: null,
  maxVariants: null,
  moveBytes: null,
  defaultClass: { latencyMeanMs: 20_000, energyJ: 200, minServed: 0.9, minReplicas: 1, weight: 1 },
  classes: {},
};

/** Parses budgets; throws `budget.invalid` that names every fault. */
export function parseBudgets(value: unknown): Budgets {
  const parsed = check(budgetsSchema, value, 'budget.invalid', 'budgets', {
    hint: 'fleetgate budget show prints the present ones',
  });
  return { ...parsed, classes: withoutUndefined(parsed.classes) };
}

/** The budget of one class: its own entries, the default for the rest. */
export function classBudget(budgets: Budgets, classId: string): ClassBudget {
  return { ...budgets.defaultClass, ...budgets.classes[classId] };
}

function withoutUndefined(classes: Readonly<Record<string, object>>): Record<string, Partial<ClassBudget>> {
  return Object.fromEntries(
    Object.entries(classes).map(([id, entry]) => [
      id,
      Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined)),
    ]),
  );
}
