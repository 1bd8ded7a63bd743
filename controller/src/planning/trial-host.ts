import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { DeviceId, ExpertId, VariantId } from '@fleetgate/shared/ids';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { Device, FleetSnapshot } from '../fleet/device.js';
import { isPlaceable } from './readiness.js';

type Placements = ReadonlyMap<DeviceId, ReadonlySet<VariantId>>;

/** A variant on a device beside what the plan places there, or in place of a copy. */
export interface TrialHost {
  readonly deviceId: DeviceId;
  readonly variantId: VariantId;
  readonly displaced?: VariantId;
}

/** An expert that looks for room. */
export interface Candidacy {
  readonly expert: ExpertId;
  /** Whether a copy may make way for it, for as long as its trial takes. */
  readonly mayDisplace: boolean;
}

export interface TrialHostFacts {
  readonly placements: Placements;
  readonly poweredOn: ReadonlySet<DeviceId>;
  /** Of the placements, copies that the plan can do without: room like what is free. */
  readonly spare: Placements;
  readonly fleet: FleetSnapshot;
  readonly catalogue: Catalogue;
  /** What a placed copy is planned to be worth: quality times requests/s; 0 for one that no planned demand goes to. */
  readonly worth: (device: DeviceId, variant: VariantId) => number;
  /** Most distinct variants that may be served at once; null: any number. */
  readonly maxVariants: number | null;
}

/**
 * Where the first of `experts` that the plan places nowhere can be tried, its smallest variant on a device that is on. One
 * at a time. Where a slot and memory are to spare, on the device that holds it already, else the one of most free memory;
 * else in place of a copy that the plan can do without; else, if it may, of the copy that is worth least. Ties go by name.
 */
export function trialHost(experts: Iterable<Candidacy>, facts: TrialHostFacts): TrialHost | undefined {
  const { catalogue, placements } = facts;
  const placed = new Set([...placements.values()].flatMap((variants) => [...variants]));
  for (const { expert, mayDisplace } of experts) {
    const variants = [...(catalogue.experts.get(expert)?.variants ?? [])];
    if (variants.some(({ id }) => placed.has(id))) continue;
    const [smallest] = variants.sort((a, b) => a.facts.memoryBytes - b.facts.memoryBytes);
    if (smallest === undefined) continue;
    const isFull = facts.maxVariants !== null && placed.size >= facts.maxVariants;
    const host =
      (isFull ? undefined : (freeRoom(smallest, facts) ?? madeRoom(smallest, facts, facts.spare))) ??
      (mayDisplace ? madeRoom(smallest, facts, placements) : undefined);
    if (host !== undefined) return host;
  }
  return undefined;
}

/** What the plan places, with the trial's variant instead of the copy that makes way for it. */
export function withTrialHost(placements: Placements, host: TrialHost | undefined): Placements {
  if (host === undefined) return placements;
  const { deviceId, displaced, variantId } = host;
  const there = [...(placements.get(deviceId) ?? [])].filter((id) => id !== displaced);
  return new Map(placements).set(deviceId, new Set([...there, variantId]));
}

function freeRoom(variant: Variant, facts: TrialHostFacts): TrialHost | undefined {
  const { placements } = facts;
  const [roomiest] = open(variant, facts)
    .map((device) => ({ device, free: freeBytes(device, facts) }))
    .filter(({ free }) => variant.facts.memoryBytes <= free)
    .filter(({ device }) => (placements.get(device.id)?.size ?? 0) < (device.reported?.slots ?? 0))
    .sort((a, b) => holds(b.device, variant) - holds(a.device, variant) || b.free - a.free || byName(a, b));
  return roomiest === undefined ? undefined : { deviceId: roomiest.device.id, variantId: variant.id };
}

/** In place of one of `copies`. */
function madeRoom(variant: Variant, facts: TrialHostFacts, copies: Placements): TrialHost | undefined {
  const { catalogue, worth } = facts;
  const [least] = open(variant, facts)
    .flatMap((device) =>
      [...(copies.get(device.id) ?? [])].map((displaced) => ({
        device,
        displaced,
        free: freeBytes(device, facts) + (catalogue.variants.get(displaced)?.facts.memoryBytes ?? 0),
        worth: worth(device.id, displaced),
      })),
    )
    .filter(({ free }) => variant.facts.memoryBytes <= free)
    .sort((a, b) => holds(b.device, variant) - holds(a.device, variant) || a.worth - b.worth || byName(a, b));
  if (least === undefined) return undefined;
  return { deviceId: least.device.id, variantId: variant.id, displaced: least.displaced };
}

/** Devices that are on, and on which the variant has not failed. */
function open(variant: Variant, { fleet, poweredOn }: TrialHostFacts): readonly Device[] {
  return [...fleet.values()].filter((device) => {
    if (!poweredOn.has(device.id) || !isPlaceable(device)) return false;
    const said = device.reported?.variants.find(({ variantId }) => variantId === variant.id);
    return said?.residency !== 'failed';
  });
}

function freeBytes(device: Device, { catalogue, placements }: TrialHostFacts): number {
  const placed = [...(placements.get(device.id) ?? [])];
  const used = placed.reduce((sum, id) => sum + (catalogue.variants.get(id)?.facts.memoryBytes ?? 0), 0);
  return (device.reported?.memory.budgetBytes ?? 0) - used;
}

/** 1 where the device was told to serve it already: moving it would load it anew. */
function holds({ desired }: Device, variant: Variant): number {
  const serves = desired?.variants.some(({ variantId, purpose }) => variantId === variant.id && purpose === 'serve');
  return serves === true ? 1 : 0;
}

interface Named {
  readonly device: Device;
  readonly displaced?: VariantId;
}
function byName(a: Named, b: Named): number {
  return `${a.device.id} ${a.displaced ?? ''}` < `${b.device.id} ${b.displaced ?? ''}` ? -1 : 1;
}
