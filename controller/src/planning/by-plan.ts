import type { PlanBook } from './plan-book.js';
import type { PlanRecord } from './plan-record.js';

/** What `derive` makes of the plan in force, made once per plan. */
export function byPlan<T>(
  planner: { readonly plans: Pick<PlanBook, 'active'> },
  derive: (record: PlanRecord) => T,
): () => T | undefined {
  let last: { readonly id: string; readonly value: T } | undefined;
  return () => {
    const record = planner.plans.active();
    if (record === undefined) return undefined;
    if (last?.id !== record.id) last = { id: record.id, value: derive(record) };
    return last.value;
  };
}
