import type { Catalogue } from '../catalogue/catalogue.js';
import type { FleetSnapshot } from '../fleet/device.js';
import { type PlanRecord, placementsOf, poweredOn, spareCopies } from './plan-record.js';
import { isPlaceable } from './readiness.js';

/** Memory that a device may have lost since the plan was made before it counts. */
const MEMORY_TOLERANCE = 0.02;

/**
 * Why a plan can no longer be carried out by the fleet as it is now; empty when it can. A plan is a proposal: the fleet
 * may have changed while it was being solved. Copies that it can do without are left to the device, which keeps what comes
 * first in its document.
 */
export function planFaults(record: PlanRecord, fleet: FleetSnapshot, catalogue: Catalogue): string[] {
  const faults: string[] = [];
  for (const id of poweredOn(record)) {
    const device = fleet.get(id);
    if (device === undefined) faults.push(`device ${id} is not in the fleet`);
    else if (!isPlaceable(device))
      faults.push(`device ${id} is ${device.presence === 'online' ? 'not ready' : device.presence}`);
  }
  const spare = spareCopies(record);
  for (const [id, placed] of placementsOf(record)) {
    const variants = placed.filter((variant) => spare.get(id)?.has(variant) !== true);
    const reported = fleet.get(id)?.reported;
    if (reported === undefined) continue;
    if (variants.length > reported.slots)
      faults.push(`device ${id} has ${reported.slots} slots, the plan needs ${variants.length}`);
    let memoryBytes = 0;
    for (const variantId of variants) {
      const variant = catalogue.variants.get(variantId);
      if (variant === undefined) faults.push(`variant ${variantId} is not in the catalogue`);
      else memoryBytes += variant.facts.memoryBytes;
    }
    if (memoryBytes > reported.memory.budgetBytes * (1 + MEMORY_TOLERANCE)) {
      faults.push(`device ${id} has ${reported.memory.budgetBytes} bytes, the plan needs ${memoryBytes}`);
    }
  }
  return faults;
}
