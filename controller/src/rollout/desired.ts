import type { DeviceId, PlanId } from '@fleetgate/shared/ids';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { SignedRelease } from '@fleetgate/shared/catalogue/release';
import { buildKey } from '@fleetgate/shared/catalogue/serving';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';

import type { Catalogue } from '../catalogue/catalogue.js';
import { isMeasuredAtEnrolment } from '../catalogue/enrolment-measuring.js';
import type { Device } from '../fleet/device.js';
import type { Placements } from './lingering.js';

/** What rollout needs of the active plan. */
export interface PlannedResidency {
  readonly planId: PlanId;
  /** What lingers included. */
  readonly placements: Placements;
  readonly poweredOn: ReadonlySet<DeviceId>;
  /** Of the placements, copies that the plan leaves behind and that serve on for a while; absent: none. */
  readonly lingering?: Placements;
  /** Of the placements, copies that the plan can do without; absent: none. */
  readonly spare?: Placements;
}

export interface DesiredSettings {
  readonly telemetry: Desired['telemetry'];
  /** What was signed for devices to take; absent: nothing. */
  readonly releases?: {
    readonly forDevice: (device: Device) => Desired['releases'];
    readonly ofVariant: (variant: Variant) => SignedRelease | undefined;
  };
}

/**
 * The next desired document of one device, or undefined while the present one still says what is wanted.
 *
 * Generations grow by one per change, also past what the device says it has seen: a restored database must not make
 * the controller speak in the past. Placed variants stay while others are measured. What lingers comes after what
 * is placed, and what the plan can do without comes last: a device loads in this order, and one that cannot hold all of its
 * document keeps what comes first. While something lingers there, a device does not go to standby.
 */
export function nextDesired(
  device: Device,
  plan: PlannedResidency | undefined,
  measured: readonly Variant[],
  catalogue: Catalogue,
  settings: DesiredSettings,
): Desired | undefined {
  const left = plan?.lingering?.get(device.id) ?? new Set();
  const spare = plan?.spare?.get(device.id) ?? new Set();
  const placed = [...(plan?.placements.get(device.id) ?? [])]
    .map((id) => catalogue.variants.get(id))
    .filter((variant) => variant !== undefined);
  const asDesired = (variant: Variant, purpose: DesiredVariant['purpose']): DesiredVariant => {
    const release = settings.releases?.ofVariant(variant);
    return { ...desiredVariant(variant, purpose, catalogue), ...(release === undefined ? {} : { release }) };
  };
  const serve = placed.map((variant) => asDesired(variant, 'serve'));
  const measure = measured
    .filter((variant) => !placed.includes(variant))
    .map((variant) => asDesired(variant, 'measure'));
  const isOn = plan === undefined || plan.poweredOn.has(device.id) || left.size > 0 || measure.length > 0;
  const rank = ({ variantId }: DesiredVariant): number => (spare.has(variantId) ? 2 : left.has(variantId) ? 1 : 0);
  const releases = settings.releases?.forDevice(device);
  const wanted = {
    v: PROTOCOL_VERSION,
    planId: plan?.planId ?? null,
    state: isOn ? 'active' : 'standby',
    variants: [...serve, ...measure].sort((a, b) => rank(a) - rank(b) || (a.variantId < b.variantId ? -1 : 1)),
    telemetry: settings.telemetry,
    ...(releases === undefined ? {} : { releases }),
  } as const;
  const last = device.desired;
  const seen = device.reported?.observedGeneration ?? 0;
  if (last !== undefined && seen <= last.generation && isSame(last, wanted)) return undefined;
  return { ...wanted, generation: Math.max(last?.generation ?? 0, seen) + 1 };
}

/**
 * Variants that each device is to measure now: those it has not measured yet (for this digest) and that fit it, one
 * device of a machine at a time.
 *
 * The list of whoever has the turn stays whole until all of it is done: every change of a desired document is work for
 * the device. A device that could not measure some keeps being asked for them, and no longer keeps its machine's other
 * devices waiting; nor does one that is away, whose list waits for it unchanged.
 */
export function measuring(devices: Iterable<Device>, catalogue: Catalogue): ReadonlyMap<DeviceId, readonly Variant[]> {
  const all = [...devices].sort((a, b) => (a.id < b.id ? -1 : 1));
  const turns = new Map<string, Device>();
  for (const device of all) {
    if (!canMeasure(device) || openMeasurements(device, catalogue).length === 0) continue;
    const holder = turns.get(hostOf(device));
    // Whoever has begun goes on; else the first by name.
    if (holder === undefined || (!isMeasuring(holder) && isMeasuring(device))) turns.set(hostOf(device), device);
  }
  const result = new Map<DeviceId, readonly Variant[]>();
  for (const device of all) {
    const asked =
      turns.get(hostOf(device)) === device ? askedInTurn(device, catalogue) : askedOutOfTurn(device, catalogue);
    if (asked.length > 0) result.set(device.id, asked);
  }
  return result;
}

function askedInTurn(device: Device, catalogue: Catalogue): readonly Variant[] {
  const open = new Set(openMeasurements(device, catalogue));
  return [...catalogue.variants.values()].filter((variant) => open.has(variant) || isAsked(device, variant));
}

function askedOutOfTurn(device: Device, catalogue: Catalogue): readonly Variant[] {
  return unmeasured(device, catalogue).filter(
    (variant) => isAsked(device, variant) && (hasFailed(device, variant) || !canMeasure(device)),
  );
}

/** Variants that a device still has to measure and has not failed to: while there are any, its costs are guesses. */
function openMeasurements(device: Device, catalogue: Catalogue): readonly Variant[] {
  return unmeasured(device, catalogue).filter((variant) => !hasFailed(device, variant));
}

function unmeasured(device: Device, catalogue: Catalogue): readonly Variant[] {
  const { reported } = device;
  if (reported === undefined) return [];
  const done = new Set(reported.measurements.map((measurement) => buildKey(measurement)));
  return [...catalogue.variants.values()].filter(
    (variant) =>
      isMeasuredAtEnrolment(variant) &&
      variant.facts.memoryBytes <= reported.memory.budgetBytes &&
      !done.has(buildKey(variant)),
  );
}

function isAsked({ desired }: Device, variant: Variant): boolean {
  const build = buildKey(variant);
  return (desired?.variants ?? []).some((asked) => asked.purpose === 'measure' && buildKey(asked) === build);
}

function hasFailed(device: Device, variant: Variant): boolean {
  const said = device.reported?.variants.find(({ variantId }) => variantId === variant.id);
  return isAsked(device, variant) && said?.residency === 'failed';
}

function isMeasuring(device: Device): boolean {
  return device.desired?.variants.some((variant) => variant.purpose === 'measure') ?? false;
}

// An engine that restarts comes back by itself, and often because of what was being measured.
function canMeasure(device: Device): boolean {
  return device.presence === 'online' && device.reported !== undefined && device.reported.engine.state !== 'down';
}

function hostOf(device: Device): string {
  return device.reported?.host.id ?? '';
}

function desiredVariant(variant: Variant, purpose: DesiredVariant['purpose'], catalogue: Catalogue): DesiredVariant {
  return {
    variantId: variant.id,
    purpose,
    sha256: variant.sha256,
    sizeBytes: variant.sizeBytes,
    contextTokens: variant.facts.contextTokens,
    stop: [...(catalogue.experts.get(variant.expertId)?.stop ?? [])],
    ...(variant.serving === undefined ? {} : { serving: variant.serving }),
  };
}

function isSame(last: Desired, wanted: Omit<Desired, 'generation'>): boolean {
  return (
    last.planId === wanted.planId &&
    last.state === wanted.state &&
    last.telemetry.sampleMs === wanted.telemetry.sampleMs &&
    last.telemetry.batchMs === wanted.telemetry.batchMs &&
    JSON.stringify(last.releases) === JSON.stringify(wanted.releases) &&
    last.variants.length === wanted.variants.length &&
    last.variants.every((variant, at) => isSameVariant(variant, wanted.variants[at]))
  );
}

function isSameVariant(a: DesiredVariant, b: DesiredVariant | undefined): boolean {
  return (
    b !== undefined &&
    a.variantId === b.variantId &&
    a.purpose === b.purpose &&
    buildKey(a) === buildKey(b) &&
    a.serving?.leastSlabsPerToken === b.serving?.leastSlabsPerToken &&
    a.contextTokens === b.contextTokens &&
    a.release?.signature === b.release?.signature &&
    a.stop.join('\0') === b.stop.join('\0')
  );
}
