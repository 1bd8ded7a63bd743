import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Device, FleetSnapshot } from '../fleet/device.js';
import { isPlaceable } from './readiness.js';

type Placements = ReadonlyMap<DeviceId, ReadonlySet<VariantId>>;

/** A variant on a device beside what the plan places there. */
export interface TrialHost {
  readonly deviceId: DeviceId;
  readonly variantId: VariantId;
}

export interface TrialHostFacts {
  readonly placements: Placements;
  readonly poweredOn: ReadonlySet<DeviceId>;
  readonly fleet: FleetSnapshot;
  readonly catalogue: Catalogue;
  /** Most distinct variants that may be served at once; null: any number. */
  readonly maxVariants: number | null;
}

/**
 * Where the first of `experts` that the plan places nowhere can be tried: its smallest variant, on a device that is on and
 * has a slot and memory to spare. One at a time. A device that holds it already keeps it; else the one of most free
 * memory, then by name.
 */
export function trialHost(experts: Iterable<ExpertId>, facts: TrialHostFacts): TrialHost | undefined {
  const { catalogue, placements, maxVariants } = facts;
  const placed = new Set([...placements.values()].flatMap((variants) => [...variants]));
  if (maxVariants !== null && placed.size >= maxVariants) return undefined;
  for (const expert of experts) {
    const variants = [...(catalogue.experts.get(expert)?.variants ?? [])];
    if (variants.length === 0 || variants.some(({ id }) => placed.has(id))) continue;
    for (const variant of variants.sort((a, b) => a.facts.memoryBytes - b.facts.memoryBytes)) {
      const deviceId = roomiest(variant, facts);
      if (deviceId !== undefined) return { deviceId, variantId: variant.id };
    }
  }
  return undefined;
}

/** What the plan places, and the trial besides. */
export function withTrialHost(placements: Placements, host: TrialHost | undefined): Placements {
  if (host === undefined) return placements;
  const { deviceId, variantId } = host;
  return new Map(placements).set(deviceId, new Set([...(placements.get(deviceId) ?? []), variantId]));
}

function roomiest(variant: Variant, facts: TrialHostFacts): DeviceId | undefined {
  const open = [...facts.fleet.values()]
    .map((device) => ({ device, free: freeBytes(device, facts) }))
    .filter(({ device, free }) => facts.poweredOn.has(device.id) && canTake(device, variant, free, facts))
    .sort(
      (a, b) =>
        Number(holds(b.device, variant)) - Number(holds(a.device, variant)) ||
        b.free - a.free ||
        (a.device.id < b.device.id ? -1 : 1),
    );
  return open[0]?.device.id;
}

function canTake(device: Device, variant: Variant, free: number, { placements }: TrialHostFacts): boolean {
  const { reported } = device;
  if (reported === undefined || !isPlaceable(device) || variant.facts.memoryBytes > free) return false;
  if ((placements.get(device.id)?.size ?? 0) >= reported.slots) return false;
  return !reported.variants.some(({ variantId, residency }) => variantId === variant.id && residency === 'failed');
}

function freeBytes(device: Device, { catalogue, placements }: TrialHostFacts): number {
  const placed = [...(placements.get(device.id) ?? [])];
  const used = placed.reduce((sum, id) => sum + (catalogue.variants.get(id)?.facts.memoryBytes ?? 0), 0);
  return (device.reported?.memory.budgetBytes ?? 0) - used;
}

function holds({ desired }: Device, variant: Variant): boolean {
  return desired?.variants.some(({ variantId, purpose }) => variantId === variant.id && purpose === 'serve') ?? false;
}
