import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { ClassId } from '@fleetgate/shared/ids';

/**
 * Quality of a variant's answers where its expert's is `quality`: quality is 2^-(bits per byte), so a loss of bits per
 * byte is a factor.
 *
 * On prompts of a class that the variant was not measured on (or of none), the largest loss measured counts: slabs pruned
 * for one domain are missed most on prompts that nobody has looked at. `slabsPerToken`: active slabs now, where a
 * strained device uses fewer than the variant is served with. Between 0 and 1.
 */
export function variantQuality(
  quality: number,
  { made }: Pick<Variant, 'made'>,
  classId: ClassId | undefined,
  slabsPerToken?: number,
): number {
  if (made === undefined) return quality;
  const lossByClass = (slabsPerToken === undefined ? undefined : made.lossAtSlabs?.[slabsPerToken]) ?? made.loss;
  const losses = Object.values(lossByClass);
  if (losses.length === 0) return quality;
  const measured = classId === undefined ? undefined : lossByClass[classId];
  return Math.min(1, Math.max(0, quality * 2 ** -(measured ?? Math.max(...losses))));
}
