import type { DeviceId, PlanId, VariantId } from '@fleetgate/shared/ids';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { Desired, DesiredVariant } from '@fleetgate/shared/protocol/twin';
import { PROTOCOL_VERSION } from '@fleetgate/shared/protocol/version';

import type { Catalogue } from '../catalogue/catalogue.js';
import { isMeasuredAtEnrolment } from '../catalogue/enrolment-measuring.js';
import type { Device } from '../fleet/device.js';

/** What rollout needs of the active plan. */
export interface PlannedResidency {
  readonly planId: PlanId;
  readonly placements: ReadonlyMap<DeviceId, ReadonlySet<VariantId>>;
  readonly poweredOn: ReadonlySet<DeviceId>;
}

export interface DesiredSettings {
  readonly telemetry: Desired['telemetry'];
}

/**
 * The next desired document of one device, or undefined while the present one still says what is wanted.
 *
 * Generations grow by one per change, also past what the device says it has seen: a restored database must not make
 * the controller speak in the past. Placed variants stay while others are measured.
 */
export function nextDesired(
  device: Device,
  plan: PlannedResidency | undefined,
  measured: readonly Variant[],
  catalogue: Catalogue,
  settings: DesiredSettings,
): Desired | undefined {
  const placed = [...(plan?.placements.get(device.id) ?? [])]
    .map((id) => catalogue.variants.get(id))
    .filter((variant) => variant !== undefined);
  const serve = placed.map((variant) => desiredVariant(variant, 'serve', catalogue));
  const measure = measured
    .filter((variant) => !placed.includes(variant))
    .map((variant) => desiredVariant(variant, 'measure', catalogue));
  const wanted = {
    v: PROTOCOL_VERSION,
    planId: plan?.planId ?? null,
    state: plan === undefined || plan.poweredOn.has(device.id) || measure.length > 0 ? 'active' : 'standby',
    variants: [...serve, ...measure].sort((a, b) => (a.variantId < b.variantId ? -1 : 1)),
    telemetry: settings.telemetry,
  } as const;
  const last = device.desired;
  const seen = device.reported?.observedGeneration ?? 0;
  if (last !== undefined && seen <= last.generation && isSame(last, wanted)) return undefined;
  return { ...wanted, generation: Math.max(last?.generation ?? 0, seen) + 1 };
}

/**
 * Variants that each device is to measure now: those it has not measured yet (for this digest) and that fit it, one
 * device of a machine at a time. A device that could not measure some keeps being asked for them, and no longer keeps
 * its machine's other devices waiting.
 */
export function measuring(devices: Iterable<Device>, catalogue: Catalogue): ReadonlyMap<DeviceId, readonly Variant[]> {
  const turns = new Map<string, Device>();
  const candidates = [...devices].filter(isReachable).sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const device of candidates) {
    if (openMeasurements(device, catalogue).length === 0) continue;
    const host = device.reported?.host.id ?? '';
    const holder = turns.get(host);
    // Whoever has begun goes on; else the first by name.
    if (holder === undefined || (!isMeasuring(holder) && isMeasuring(device))) turns.set(host, device);
  }
  const result = new Map<DeviceId, readonly Variant[]>();
  for (const device of candidates) {
    const hasTurn = turns.get(device.reported?.host.id ?? '') === device;
    const asked = unmeasured(device, catalogue).filter((variant) => hasTurn || hasFailed(device, variant));
    if (asked.length > 0) result.set(device.id, asked);
  }
  return result;
}

/** Variants that a device still has to measure and has not failed to: while there are any, its costs are guesses. */
export function openMeasurements(device: Device, catalogue: Catalogue): readonly Variant[] {
  return unmeasured(device, catalogue).filter((variant) => !hasFailed(device, variant));
}

function unmeasured(device: Device, catalogue: Catalogue): readonly Variant[] {
  const { reported } = device;
  if (reported === undefined) return [];
  const done = new Set(reported.measurements.map((measurement) => measurement.sha256));
  return [...catalogue.variants.values()].filter(
    (variant) =>
      isMeasuredAtEnrolment(variant) &&
      variant.facts.memoryBytes <= reported.memory.budgetBytes &&
      !done.has(variant.sha256),
  );
}

function hasFailed(device: Device, variant: Variant): boolean {
  const { reported, desired } = device;
  if (reported === undefined || desired === undefined) return false;
  const asked = desired.variants.some((wanted) => wanted.sha256 === variant.sha256 && wanted.purpose === 'measure');
  const said = reported.variants.find((reportedVariant) => reportedVariant.variantId === variant.id);
  return asked && said?.residency === 'failed';
}

function isMeasuring(device: Device): boolean {
  return device.desired?.variants.some((variant) => variant.purpose === 'measure') ?? false;
}

function isReachable(device: Device): boolean {
  return device.presence === 'online' && device.reported?.engine.state === 'ready';
}

function desiredVariant(variant: Variant, purpose: DesiredVariant['purpose'], catalogue: Catalogue): DesiredVariant {
  return {
    variantId: variant.id,
    purpose,
    sha256: variant.sha256,
    sizeBytes: variant.sizeBytes,
    contextTokens: variant.facts.contextTokens,
    stop: [...(catalogue.experts.get(variant.expertId)?.stop ?? [])],
  };
}

function isSame(last: Desired, wanted: Omit<Desired, 'generation'>): boolean {
  return (
    last.planId === wanted.planId &&
    last.state === wanted.state &&
    last.telemetry.sampleMs === wanted.telemetry.sampleMs &&
    last.telemetry.batchMs === wanted.telemetry.batchMs &&
    last.variants.length === wanted.variants.length &&
    last.variants.every((variant, at) => isSameVariant(variant, wanted.variants[at]))
  );
}

function isSameVariant(a: DesiredVariant, b: DesiredVariant | undefined): boolean {
  return (
    b !== undefined &&
    a.variantId === b.variantId &&
    a.purpose === b.purpose &&
    a.sha256 === b.sha256 &&
    a.contextTokens === b.contextTokens &&
    a.stop.join('\0') === b.stop.join('\0')
  );
}
