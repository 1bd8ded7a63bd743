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

const MOST_BUDGETS = 256;
const idField = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'expected a name of a-z, 0-9, ".", "_" and "-"');
const scopeField = z.string().min(1).max(80).optional();
const most = (limit: number) => z.number().positive().max(limit).nullish();

const usageBudgetSchema = z
  .strictObject({
    id: idField,
    device: scopeField,
    class: scopeField,
    tenant: scopeField,
    per: z.enum(['hour', 'day']),
    energyJ: most(1e12),
    busyMs: most(1e12),
    calls: most(1e12),
  })
  .refine(({ device, class: ofClass, tenant }) => [device, ofClass, tenant].filter(Boolean).length <= 1, {
    error: 'a usage budget is of one device, one class or one tenant, or of the whole fleet',
  })
  .refine(({ energyJ, busyMs, calls }) => [energyJ, busyMs, calls].some((bound) => typeof bound === 'number'), {
    error: 'a usage budget bounds at least one of energyJ, busyMs and calls',
  });

const batteryBudgetSchema = z.strictObject({
  device: z.string().min(1).max(80),
  capacityJ: z.number().positive().max(1e9),
  reserveRatio: z.number().min(0).max(0.99),
  hours: z.number().positive().max(1000),
});

const uniqueBy = <T>(key: (each: T) => string, items: readonly T[]): boolean =>
  new Set(items.map(key)).size === items.length;

/** Budgets as a person sets them; unknown keys are faults, so that a typing error cannot pass as "no bound". */
export const budgetsSchema = z
  .object({
    fleetPowerW: z.number().positive().max(1e9).nullable(),
    maxVariants: z.number().int().positive().max(100_000).nullable(),
    moveBytes: z.number().nonnegative().max(1e18).nullable(),
    defaultClass: classBudgetSchema,
    classes: z.record(z.string().max(80), classBudgetSchema.partial()),
    usage: z
      .array(usageBudgetSchema)
      .max(MOST_BUDGETS)
      .refine((items) => uniqueBy(({ id }) => id, items), 'two usage budgets have the same id')
      .optional(),
    batteries: z
      .array(batteryBudgetSchema)
      .max(MOST_BUDGETS)
      .refine((items) => uniqueBy(({ device }) => device, items), 'two battery budgets are of the same device')
      .optional(),
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
  const { usage, batteries, classes, ...rest } = parsed;
  return {
    ...rest,
    classes: withoutUndefined(classes),
    ...(usage === undefined ? {} : { usage }),
    ...(batteries === undefined ? {} : { batteries }),
  };
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
