import type { CostView } from '@fleetgate/shared/api/operations';
import type { ClassId, DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';

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

/** Devices looked at for one expert: in a fleet of thousands the cheapest of so many is cheap enough to tell. */
const MOST_DEVICES = 32;

/**
 * Predicted cost of a typical request of a class asked of an expert, on the idle device where it takes least energy of
 * those that the plan gives it; null where the plan serves it nowhere or nothing is known of its cost.
 */
export function expertCosts({ policy, catalogue, costs, workloads }: CostFacts) {
  const placed = placementsByExpert(policy, catalogue);
  return (expert: ExpertId, classId: ClassId, outputTokens: number): CostView | null => {
    const workload = {
      promptTokens: workloads.promptTokens(classId),
      outputTokens: outputTokens * workloads.classFactor(classId),
    };
    let least: CostView | null = null;
    for (const { device, variant } of placed.get(expert) ?? []) {
      const cost = costs.estimate(device, variant, workload);
      if (cost === undefined || (least !== null && cost.energy >= least.energyJ)) continue;
      least = { energyJ: cost.energy, latencyMs: cost.latency };
    }
    return least;
  };
}

interface Placed {
  readonly device: DeviceId;
  readonly variant: VariantId;
}

function placementsByExpert(
  policy: DispatchPolicy | undefined,
  catalogue: CostFacts['catalogue'],
): ReadonlyMap<ExpertId, readonly Placed[]> {
  const placed = new Map<ExpertId, Placed[]>();
  for (const [device, variants] of policy?.placements ?? []) {
    for (const variant of variants) {
      const expert = catalogue.variants.get(variant)?.expertId;
      if (expert === undefined) continue;
      const own = placed.get(expert) ?? [];
      if (own.length < MOST_DEVICES) own.push({ device, variant });
      placed.set(expert, own);
    }
  }
  return placed;
}
