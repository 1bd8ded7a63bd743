import type { CostView } from '@fleetgate/shared/api/operations';
import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { DispatchPolicy } from '../dispatch/dispatch-policy.js';
import type { CostEstimator } from '../telemetry/cost.js';
import type { WorkloadEstimator } from '../telemetry/workload-model.js';

export interface CostFacts {
  readonly policy: DispatchPolicy | undefined;
  readonly catalogue: Pick<Catalogue, 'variants'>;
  readonly costs: Pick<CostEstimator, 'estimate'>;
  readonly workloads: Pick<WorkloadEstimator, 'promptTokens' | 'classFactor'>;
}

/**
 * Predicted cost of a typical request of a class asked of an expert, on the idle device where it takes least energy of
 * those that the plan gives it; null where the plan serves it nowhere or nothing is known of its cost.
 */
export function expertCost(
  facts: CostFacts,
  expert: ExpertId,
  classId: ClassId,
  outputTokens: number,
): CostView | null {
  const workload = {
    promptTokens: facts.workloads.promptTokens(classId),
    outputTokens: outputTokens * facts.workloads.classFactor(classId),
  };
  let least: CostView | null = null;
  for (const [device, variants] of facts.policy?.placements ?? []) {
    for (const variant of variants) {
      if (facts.catalogue.variants.get(variant)?.expertId !== expert) continue;
      const cost = facts.costs.estimate(device, variant, workload);
      if (cost === undefined || (least !== null && cost.energy >= least.energyJ)) continue;
      least = { energyJ: cost.energy, latencyMs: cost.latency };
    }
  }
  return least;
}
