import { heatShares } from '@fleetgate/shared/catalogue/slab-heat';
import type { BoardId, DeviceId, VariantId } from '@fleetgate/shared/ids';

import { type Device, presentReport } from '../fleet/device.js';

/** How often the devices of one class choose each slab of a mixture that they serve. */
export interface SlabDemand {
  readonly variantId: VariantId;
  readonly board: BoardId;
  readonly devices: readonly DeviceId[];
  /** Tokens that this is of. */
  readonly tokens: number;
  /** Of each layer, the share of its choices that fell on each slab; each layer adds up to 1. */
  readonly shares: readonly (readonly number[])[];
}

/** Of each variant whose slabs are looked after, by board: devices count by their tokens. In order of names. */
export function slabDemands(devices: Iterable<Device>): readonly SlabDemand[] {
  const byKey = new Map<string, { demand: SlabDemand; sums: number[][] }>();
  for (const device of devices) {
    for (const { variantId, slabs } of presentReport(device)?.variants ?? []) {
      const heat = slabs?.heat;
      if (heat === undefined || heat.tokens === 0) continue;
      const key = `${variantId} ${device.board}`;
      const sums = heatShares(heat).map((layer) => [...layer].map((share) => share * heat.tokens));
      const known = byKey.get(key);
      // Of another file by the same name: the newer is as good as the older, and they cannot be added.
      if (known !== undefined && !isSameShape(known.sums, sums)) continue;
      byKey.set(key, {
        demand: {
          ...{ variantId, board: device.board, shares: [] },
          devices: [...(known?.demand.devices ?? []), device.id],
          tokens: (known?.demand.tokens ?? 0) + heat.tokens,
        },
        sums:
          known === undefined ? sums : sums.map((layer, l) => layer.map((sum, s) => sum + (known.sums[l]?.[s] ?? 0))),
      });
    }
  }
  return [...byKey]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { demand, sums }]) => ({ ...demand, shares: sums.map(asShares) }));
}

function asShares(sums: readonly number[]): readonly number[] {
  const total = sums.reduce((sum, value) => sum + value, 0);
  return total > 0 ? sums.map((value) => value / total) : sums.map(() => 1 / sums.length);
}

function isSameShape(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): boolean {
  return a.length === b.length && a.every((layer, l) => layer.length === b[l]?.length);
}
