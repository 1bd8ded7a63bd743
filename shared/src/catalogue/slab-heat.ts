import { z } from 'zod';

const MOST = 255;

/** How often the router of a mixture chose each slab of late. */
export const slabHeatSchema = z.object({
  /** Tokens that this is of, older ones counting less. */
  tokens: z.number().nonnegative(),
  /** Of each layer that has slabs, a byte a slab in base64: 255 for the one that was chosen most. */
  layers: z.array(z.base64().max(2048)).max(512),
});
export type SlabHeat = z.infer<typeof slabHeatSchema>;

/** `counts`: of each layer, how often each slab was chosen. */
export function slabHeatOf(tokens: number, counts: readonly Float64Array[]): SlabHeat {
  return {
    tokens: Math.round(tokens),
    layers: counts.map((layer) => {
      const most = layer.reduce((max, count) => Math.max(max, count), 0);
      return Buffer.from(
        Uint8Array.from(layer, (count) => (most === 0 ? 0 : Math.round((MOST * count) / most))),
      ).toString('base64');
    }),
  };
}

/** Of each layer, the share of its choices that fell on each slab, 0..1, within 1/255 of the most chosen one's. */
export function heatShares({ layers }: SlabHeat): readonly Float64Array[] {
  return layers.map((layer) => {
    const bytes = Buffer.from(layer, 'base64');
    const total = bytes.reduce((sum, value) => sum + value, 0);
    return Float64Array.from(bytes, (value) => (total === 0 ? 0 : value / total));
  });
}
