import type { Variant } from '@fleetgate/shared/catalogue/expert';

/** Larger variants are not fetched for measuring alone: their cost is predicted until a plan places them. */
const MOST_MEASURED_BYTES = 64 * 1024 * 1024;

/** Whether every device that can hold the variant measures it when it joins. */
export function isMeasuredAtEnrolment(variant: Variant): boolean {
  return variant.sizeBytes <= MOST_MEASURED_BYTES;
}
