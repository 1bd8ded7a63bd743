import { buildKey, filesOf } from '@fleetgate/shared/catalogue/serving';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { deviceId, variantId } from '@fleetgate/shared/ids';
import type { Reported } from '@fleetgate/shared/protocol/twin';

import type { PlacementProblem } from '../optimiser/problem.js';
import type { ProblemFacts } from './build-problem.js';
import type { IsCostless } from './second-copies.js';

/**
 * Where a copy that no demand is planned for costs nothing: memory within a device's budget draws no more power when it is
 * full. What would cost is ruled out:
 *
 * - fetching the file: only builds that the device has measured, and so has had, and whose files its storage has room for;
 * - loading on a device that spares itself, for heat or a battery that runs down;
 * - memory by what the device measured, where that is more than the file says;
 * - the system's page cache on a device that reads slabs of a mixture of experts from storage as they are routed to.
 *
 * What is resident already costs none of the first two.
 */
export function costlessCopies(
  { catalogue, fleet }: Pick<ProblemFacts, 'catalogue' | 'fleet'>,
  problem: PlacementProblem,
): IsCostless {
  const variantOf = (v: number): Variant | undefined =>
    catalogue.variants.get(variantId(problem.variants[v]?.id ?? ''));
  return (d, v, hosted) => {
    const reported = fleet.get(deviceId(problem.devices[d]?.id ?? ''))?.reported;
    const variant = variantOf(v);
    const others = hosted.map(variantOf).filter((one) => one !== undefined);
    if (reported === undefined || variant === undefined || others.some(readsSlabs)) return false;
    if (!isResident(reported, variant) && !isLoadedForFree(reported, variant)) return false;
    const bytes = [variant, ...others].reduce((sum, one) => sum + memoryOf(reported, one), 0);
    return bytes <= reported.memory.budgetBytes;
  };
}

function isResident({ variants }: Reported, { id }: Variant): boolean {
  return variants.some(({ variantId: of, residency }) => of === id && residency === 'resident');
}

function isLoadedForFree({ governor, measurements, storage }: Reported, variant: Variant): boolean {
  const build = buildKey(variant);
  if ((governor?.strain ?? 0) > 0 || !measurements.some((each) => buildKey(each) === build)) return false;
  return filesOf(variant).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) <= storage.freeBytes;
}

function memoryOf({ measurements }: Reported, variant: Variant): number {
  const build = buildKey(variant);
  const measured = measurements.find((each) => buildKey(each) === build)?.memoryBytes ?? 0;
  return Math.max(measured, variant.facts.memoryBytes);
}

function readsSlabs({ serving }: Variant): boolean {
  return serving?.slabBudgetBytes !== undefined;
}
