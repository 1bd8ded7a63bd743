/** The matrix of a plan: experts down, devices across. Pure. */
import type { DeviceView, PlanView } from '@fleetgate/shared/api/operations';
import type { Residency } from '@fleetgate/shared/protocol/twin';

import { expertOf, type FleetState } from '../state/live.js';

export interface PlacementCell {
  readonly deviceId: string;
  readonly variantId: string | null;
  /** Share of the expert's and of all planned requests that this cell serves, 0..1. */
  readonly share: number;
  /** What the device says of the variant now; null when it says nothing. */
  readonly residency: Residency | null;
}

export interface PlacementRow {
  readonly expertId: string;
  readonly title: string;
  readonly placed: boolean;
  /** Share of all planned requests, 0..1. */
  readonly share: number;
  readonly cells: readonly PlacementCell[];
}

export interface PlacementMatrix {
  readonly devices: readonly { readonly id: string; readonly poweredOn: boolean; readonly online: boolean }[];
  /** Placed experts first, the busiest at the top; then those that no device hosts. */
  readonly rows: readonly PlacementRow[];
}

export function placementMatrix(fleet: FleetState, plan: PlanView): PlacementMatrix {
  const placedOn = plan.placements.map((placement) => placement.deviceId);
  const ids = [...new Set([...fleet.devices.keys(), ...placedOn])].sort();
  const total = plan.routing.reduce((sum, route) => sum + route.ratePerS, 0);
  const experts = new Map<string, string>(fleet.experts.map((expert) => [expert.id, expert.title]));
  for (const { variantId } of plan.placements) {
    const id = expertOf(fleet, variantId);
    if (!experts.has(id)) experts.set(id, id);
  }
  const rows = [...experts].map(([expertId, title]): PlacementRow => {
    const cells = ids.map((deviceId): PlacementCell => {
      const placement = plan.placements.find(
        (each) => each.deviceId === deviceId && expertOf(fleet, each.variantId) === expertId,
      );
      if (placement === undefined) return { deviceId, variantId: null, share: 0, residency: null };
      const rate = plan.routing
        .filter((route) => route.deviceId === deviceId && route.variantId === placement.variantId)
        .reduce((sum, route) => sum + route.ratePerS, 0);
      return {
        deviceId,
        variantId: placement.variantId,
        share: total > 0 ? rate / total : 0,
        residency: residencyOf(fleet.devices.get(deviceId), placement.variantId),
      };
    });
    return {
      expertId,
      title,
      placed: cells.some((cell) => cell.variantId !== null),
      share: cells.reduce((sum, cell) => sum + cell.share, 0),
      cells,
    };
  });
  return {
    devices: ids.map((id) => ({
      id,
      poweredOn: plan.poweredOn.includes(id),
      online: fleet.devices.get(id)?.state === 'online',
    })),
    rows: rows.sort((a, b) => Number(b.placed) - Number(a.placed) || b.share - a.share),
  };
}

function residencyOf(device: DeviceView | undefined, variantId: string): Residency | null {
  return device?.variants.find((variant) => variant.variantId === variantId)?.residency ?? null;
}
