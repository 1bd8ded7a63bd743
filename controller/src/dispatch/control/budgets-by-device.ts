import type { BatteryBudget, Budgets, UsageBudget } from '@fleetgate/shared/api/operations';

type Bounds = Pick<Budgets, 'usage' | 'batteries'>;

/** Budgets as requests look for them: their own, and those of the devices that they may go to. */
export interface BudgetsByDevice {
  readonly usage: readonly UsageBudget[];
  /** Of no device. */
  readonly common: readonly UsageBudget[];
  readonly usageOf: ReadonlyMap<string, readonly UsageBudget[]>;
  readonly batteryOf: ReadonlyMap<string, BatteryBudget>;
}

/** Budgets are never changed but replaced: they are put in order once, not for every request. */
const known = new WeakMap<Bounds, BudgetsByDevice>();

export function budgetsByDevice(budgets: Bounds): BudgetsByDevice {
  const before = known.get(budgets);
  if (before !== undefined) return before;
  const { usage = [], batteries = [] } = budgets;
  const usageOf = new Map<string, readonly UsageBudget[]>();
  for (const budget of usage) {
    if (budget.device !== undefined) usageOf.set(budget.device, [...(usageOf.get(budget.device) ?? []), budget]);
  }
  const ordered: BudgetsByDevice = {
    usage,
    common: usage.filter(({ device }) => device === undefined),
    usageOf,
    // Of several of one device the first counts.
    batteryOf: new Map(batteries.toReversed().map((battery) => [battery.device, battery])),
  };
  known.set(budgets, ordered);
  return ordered;
}
