import type { Budgets, PlanState } from '@fleetgate/shared/api/operations';
import { type DeviceId, deviceId, type PlanId, type VariantId, variantId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { PlacementPlan } from '../optimiser/plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import type { Circumstances } from './circumstances.js';

/** A plan as it is kept: what was asked, what was answered, and what became of it. Frozen; replaced whole. */
export interface PlanRecord {
  readonly id: PlanId;
  readonly state: PlanState;
  readonly createdAt: UnixMs;
  readonly activatedAt: UnixMs | undefined;
  /** Why it was made, for a person. */
  readonly trigger: string;
  readonly budgets: Budgets;
  /** Ids in it are device, variant and class ids. */
  readonly problem: PlacementProblem;
  readonly solution: PlacementPlan;
  /** Whether the independent checker passed it. */
  readonly verified: boolean;
  readonly circumstances: Circumstances;
}

/** Variants that each device of the plan is to host; devices that host nothing are missing. */
export function placementsOf(record: PlanRecord): ReadonlyMap<DeviceId, readonly VariantId[]> {
  const placements = new Map<DeviceId, VariantId[]>();
  for (const [d, v, copies] of record.solution.placement) {
    const device = record.problem.devices[d];
    const variant = record.problem.variants[v];
    if (device === undefined || variant === undefined || copies === 0) continue;
    const id = deviceId(device.id);
    const hosted = placements.get(id);
    if (hosted === undefined) placements.set(id, [variantId(variant.id)]);
    else hosted.push(variantId(variant.id));
  }
  return placements;
}

/** Devices that are to be on; the others go to standby. */
export function poweredOn(record: PlanRecord): ReadonlySet<DeviceId> {
  const on = record.solution.poweredOn.filter(([, count]) => count > 0);
  return new Set(
    on.flatMap(([d]) => (record.problem.devices[d] === undefined ? [] : [deviceId(record.problem.devices[d].id)])),
  );
}

/** `device/variant` of every placed copy that the plan cannot do without. */
export function neededPairs(record: PlanRecord | undefined): ReadonlySet<string> {
  if (record === undefined) return new Set();
  const spare = spareCopies(record);
  return new Set(
    [...placementsOf(record)].flatMap(([device, variants]) =>
      variants.filter((variant) => spare.get(device)?.has(variant) !== true).map((variant) => `${device}/${variant}`),
    ),
  );
}

/**
 * Copies that no planned demand goes to and whose variant another device hosts as well: what a plan can do without. None
 * where a class asks for several replicas, which these may be.
 */
export function spareCopies({
  problem,
  solution,
}: Pick<PlanRecord, 'problem' | 'solution'>): ReadonlyMap<DeviceId, ReadonlySet<VariantId>> {
  const spare = new Map<DeviceId, Set<VariantId>>();
  if (problem.classes.some(({ minReplicas }) => minReplicas > 1)) return spare;
  const used = new Set(solution.routing.filter(({ rate }) => rate > 0).map(({ d, v }) => `${d},${v}`));
  // Of a variant that nothing goes to, all copies but the first.
  const hosted = new Set(solution.routing.filter(({ rate }) => rate > 0).map(({ v }) => v));
  for (const [d, v] of solution.placement) {
    const device = problem.devices[d];
    const variant = problem.variants[v];
    if (device === undefined || variant === undefined || used.has(`${d},${v}`)) continue;
    if (!hosted.has(v)) hosted.add(v);
    else spare.set(deviceId(device.id), (spare.get(deviceId(device.id)) ?? new Set()).add(variantId(variant.id)));
  }
  return spare;
}
