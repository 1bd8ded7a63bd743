import type { DeviceId } from '@fleetgate/shared/ids';

import type { Wave } from './rollout-spec.js';

/** A device that a rollout is about: it has the incumbent, or the candidate by now. */
export interface RolloutDevice {
  readonly id: DeviceId;
  readonly board: string;
  readonly isOnline: boolean;
  /** What the candidate is to be on it, as far as it says. */
  readonly candidate: 'absent' | 'coming' | 'there' | 'failed';
  readonly charging: boolean | undefined;
  readonly network: 'ethernet' | 'wifi' | 'cellular' | undefined;
  readonly temperatureC: number | undefined;
}

/**
 * The devices of a wave, those of the waves before (`had`) first: then by name, those that are online before those that are
 * not. Never fewer than `had`.
 */
export function devicesOfWave(
  { devices: who }: Pick<Wave, 'devices'>,
  had: readonly DeviceId[],
  all: readonly RolloutDevice[],
): readonly DeviceId[] {
  const { count = Infinity, percent = 100, boards, names } = who;
  const rank = (device: RolloutDevice): number => (had.includes(device.id) ? 0 : device.isOnline ? 1 : 2);
  const matching = all
    .filter(({ board }) => boards === undefined || boards.includes(board))
    .filter(({ id }) => names === undefined || names.includes(id))
    .toSorted((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id);
  const most = Math.min(count, Math.ceil((percent / 100) * all.length));
  return [...had, ...matching.filter((id) => !had.includes(id))].slice(0, Math.max(had.length, most));
}

/** Why a device is not changed now; undefined: it may be. */
export function heldUpBy(device: RolloutDevice, { window, while: only }: Wave, hourOfDay: number): string | undefined {
  if (!device.isOnline) return 'it is offline';
  if (window !== undefined && !isWithin(window, hourOfDay)) {
    return `it is not between ${window.fromHour} and ${window.toHour} o'clock UTC`;
  }
  if (only?.charging === true && device.charging === false) return 'it is not charging';
  const { network } = device;
  // A cable is as good as what was asked for.
  if (only?.network !== undefined && network !== undefined && network !== only.network && network !== 'ethernet') {
    return `it is connected by ${network}`;
  }
  return undefined;
}

function isWithin({ fromHour, toHour }: NonNullable<Wave['window']>, hour: number): boolean {
  return fromHour <= toHour ? hour >= fromHour && hour < toHour : hour >= fromHour || hour < toHour;
}
