import { buildKey } from '@fleetgate/shared/catalogue/serving';

import type { Device, FleetSnapshot } from '../fleet/device.js';
import type { Catalogue } from '../catalogue/catalogue.js';
import { isMeasuredAtEnrolment } from '../catalogue/enrolment-measuring.js';

/** Whether variants may be placed on a device now: it is there, has said what it is, and has an engine. */
export function isPlaceable(device: Device): boolean {
  const reported = device.reported;
  if (device.presence !== 'online' || reported === undefined) return false;
  return reported.engine.state !== 'down' && (reported.state === 'active' || reported.state === 'standby');
}

/**
 * Variants that a device is asked to measure but has neither measured nor failed to: while there are any, its costs are
 * predictions, and a plan made now would soon be made again.
 */
export function unmeasured(device: Device, catalogue: Catalogue): number {
  const reported = device.reported;
  if (reported === undefined) return catalogue.variants.size;
  const measured = new Set(reported.measurements.map((measurement) => buildKey(measurement)));
  const failed = new Set(
    reported.variants.filter(({ residency }) => residency === 'failed').map(({ variantId }) => variantId),
  );
  let count = 0;
  for (const variant of catalogue.variants.values()) {
    const fits = variant.facts.memoryBytes <= reported.memory.budgetBytes;
    if (fits && isMeasuredAtEnrolment(variant) && !measured.has(buildKey(variant)) && !failed.has(variant.id)) count++;
  }
  return count;
}

/** Measurements still to come from all devices that are online. */
export function measurementsAwaited(fleet: FleetSnapshot, catalogue: Catalogue): number {
  let total = 0;
  for (const device of fleet.values()) if (device.presence === 'online') total += unmeasured(device, catalogue);
  return total;
}
