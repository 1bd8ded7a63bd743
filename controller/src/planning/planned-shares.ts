import { type ClassId, classId, type ExpertId, type VariantId } from '@fleetgate/shared/ids';

import type { PlanRecord } from './plan-record.js';

/** Shares (0..1) of each class's served requests that a plan routes to each expert. Variants that are gone count for none. */
export function plannedShares(
  { problem, solution }: Pick<PlanRecord, 'problem' | 'solution'>,
  expertOf: (variant: VariantId) => ExpertId | undefined,
): ReadonlyMap<ClassId, ReadonlyMap<ExpertId, number>> {
  const rates = new Map<ClassId, Map<ExpertId, number>>();
  for (const { k, v, rate } of solution.routing) {
    const [planned, variant] = [problem.classes[k], problem.variants[v]];
    const expert = variant === undefined ? undefined : expertOf(variant.id as VariantId);
    if (planned === undefined || expert === undefined || rate <= 0) continue;
    const id = classId(planned.id);
    const ofClass = rates.get(id) ?? new Map<ExpertId, number>();
    rates.set(id, ofClass.set(expert, (ofClass.get(expert) ?? 0) + rate));
  }
  return new Map(
    [...rates].map(([id, experts]) => {
      const total = [...experts.values()].reduce((sum, rate) => sum + rate, 0);
      return [id, new Map([...experts].map(([expert, rate]) => [expert, rate / total]))];
    }),
  );
}
