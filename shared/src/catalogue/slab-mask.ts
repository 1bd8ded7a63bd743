import { z } from 'zod';

const SLABS_PER_DIGIT = 4;

/** Of each layer that has slabs, which of them stay: a hexadecimal digit for every four, the first one its highest bit. */
export const slabMaskSchema = z
  .array(z.string().regex(/^[0-9a-f]{1,256}$/, 'a mask of slabs is hexadecimal digits in lower case'))
  .min(1)
  .max(512);
export type SlabMask = z.infer<typeof slabMaskSchema>;

/** `keep`: numbers of the slabs that stay, by layer. */
export function slabMaskOf(keep: readonly (readonly number[])[], slabsPerLayer: number): SlabMask {
  return keep.map((kept) => {
    const stays = new Set(kept);
    let digits = '';
    for (let first = 0; first < slabsPerLayer; first += SLABS_PER_DIGIT) {
      let digit = 0;
      for (let i = 0; i < SLABS_PER_DIGIT; i++) digit = 2 * digit + (stays.has(first + i) ? 1 : 0);
      digits += digit.toString(16);
    }
    return digits;
  });
}

/** Numbers of the slabs that stay, by layer, ascending; also those that no layer has, where the mask says so. */
export function slabsKept(mask: SlabMask): readonly (readonly number[])[] {
  return mask.map((digits) =>
    Array.from(digits).flatMap((digit, at) => {
      const value = Number.parseInt(digit, 16);
      return Array.from({ length: SLABS_PER_DIGIT }, (_, i) => at * SLABS_PER_DIGIT + i).filter(
        (_, i) => (value & (8 >> i)) !== 0,
      );
    }),
  );
}
