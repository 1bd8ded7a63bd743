import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, VariantId } from '@fleetgate/shared/ids';
import type { Residency } from '@fleetgate/shared/protocol/twin';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Device, FleetSnapshot } from '../fleet/device.js';

/** Variants by device. */
export type Placements = ReadonlyMap<DeviceId, ReadonlySet<VariantId>>;

/** A copy that a device was told to serve and has, and that the plan in force does not place there any more. */
export interface LeftCopy {
  readonly deviceId: DeviceId;
  readonly variantId: VariantId;
}

interface Facts {
  readonly placements: Placements;
  readonly fleet: FleetSnapshot;
  readonly catalogue: Catalogue;
}

/** Copies that the plan leaves behind, by the device's present document and what it said last. */
export function leftCopies({ fleet, placements }: Pick<Facts, 'fleet' | 'placements'>): readonly LeftCopy[] {
  return [...fleet.values()].flatMap((device) =>
    (device.desired?.variants ?? [])
      .filter(({ purpose }) => purpose === 'serve')
      .filter(({ variantId }) => placements.get(device.id)?.has(variantId) !== true)
      .filter(({ variantId }) => residencyOf(device, variantId) === 'resident')
      .map(({ variantId }) => ({ deviceId: device.id, variantId })),
  );
}

/**
 * Which of `copies` serve on, so that a change of plan takes nothing away before what replaces it is there: those that fit
 * beside what is placed, until a device that the plan places the variant on has it. A variant that the plan places nowhere
 * goes when the plan serves without it: all that is placed on its device is resident, and of every placed variant a copy.
 * Nobody waits for devices that are away and variants that failed.
 *
 * Where not all fit, variants that are placed elsewhere stay first, then smaller ones. O(n log n) of the copies.
 */
export function lingering(copies: readonly LeftCopy[], facts: Facts): Placements {
  const { catalogue, fleet } = facts;
  const hosts = hostsOf(facts.placements);
  const isReady = isServing(facts, hosts);
  const wanted = copies
    .flatMap(({ deviceId, variantId }) => {
      const [device, variant] = [fleet.get(deviceId), catalogue.variants.get(variantId)];
      return device === undefined || variant === undefined ? [] : [{ device, variant, placed: hosts.get(variantId) }];
    })
    .filter(({ device, placed, variant }) =>
      placed === undefined
        ? !isReady || !isSettled(device, facts)
        : !placed.some((id) => has(fleet.get(id), variant.id)),
    )
    .sort((a, b) => Number(b.placed !== undefined) - Number(a.placed !== undefined) || bySize(a, b));
  const kept = new Map<DeviceId, Set<VariantId>>();
  for (const { device, variant } of wanted) {
    const there = kept.get(device.id) ?? new Set();
    const all = [...(facts.placements.get(device.id) ?? []), ...there, variant.id];
    if (fits(device, all, catalogue)) kept.set(device.id, there.add(variant.id));
  }
  return kept;
}

function hostsOf(placements: Placements): ReadonlyMap<VariantId, readonly DeviceId[]> {
  const hosts = new Map<VariantId, DeviceId[]>();
  for (const [device, variants] of placements) {
    for (const variant of variants) {
      const known = hosts.get(variant);
      if (known === undefined) hosts.set(variant, [device]);
      else known.push(device);
    }
  }
  return hosts;
}

/** Whether of every placed variant a copy is there, or none will come. */
function isServing({ fleet }: Facts, hosts: ReadonlyMap<VariantId, readonly DeviceId[]>): boolean {
  return [...hosts].every(([variant, ids]) => {
    const devices = ids.map((id) => fleet.get(id));
    return devices.some((device) => has(device, variant)) || !devices.some((device) => isComing(device, variant));
  });
}

/** Whether a device has all that is placed on it, but for what does not come. */
function isSettled(device: Device, { placements }: Facts): boolean {
  return [...(placements.get(device.id) ?? [])].every((id) => !isComing(device, id));
}

function has(device: Device | undefined, variant: VariantId): boolean {
  return device?.presence === 'online' && residencyOf(device, variant) === 'resident';
}

function isComing(device: Device | undefined, variant: VariantId): boolean {
  if (device?.presence !== 'online' || device.reported === undefined) return false;
  const residency = residencyOf(device, variant);
  return residency !== 'resident' && residency !== 'failed';
}

function residencyOf({ reported }: Device, variant: VariantId): Residency | undefined {
  return reported?.variants.find(({ variantId }) => variantId === variant)?.residency;
}

function fits({ reported }: Device, variants: readonly VariantId[], catalogue: Catalogue): boolean {
  if (reported === undefined || variants.length > reported.slots) return false;
  const bytes = variants.map((id) => {
    const said = reported.variants.find(({ variantId }) => variantId === id)?.memoryBytes ?? 0;
    return Math.max(said, catalogue.variants.get(id)?.facts.memoryBytes ?? 0);
  });
  return bytes.reduce((sum, each) => sum + each, 0) <= reported.memory.budgetBytes;
}

interface Sized {
  readonly device: Device;
  readonly variant: Variant;
}
function bySize(a: Sized, b: Sized): number {
  const bytes = a.variant.facts.memoryBytes - b.variant.facts.memoryBytes;
  return bytes === 0 ? (`${a.device.id} ${a.variant.id}` < `${b.device.id} ${b.variant.id}` ? -1 : 1) : bytes;
}
