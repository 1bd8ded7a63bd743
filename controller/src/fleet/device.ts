import type { BoardId, DeviceId } from '@fleetgate/shared/ids';
import type { Presence } from '@fleetgate/shared/protocol/presence';
import type { Metric } from '@fleetgate/shared/protocol/telemetry';
import type { Desired, Reported } from '@fleetgate/shared/protocol/twin';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

/** The controller's twin of one device: identity, presence, desired, reported and observed state. Frozen; replaced whole. */
export interface Device {
  readonly id: DeviceId;
  readonly board: BoardId;
  readonly enrolledAt: UnixMs;
  /** `never-seen` until the first presence. */
  readonly presence: 'never-seen' | 'online' | 'offline';
  /** Newest session seen; 0 before the first. */
  readonly epoch: number;
  readonly lastSeen: UnixMs | undefined;
  /** Counts from when *we* received the last sign of life: device clocks drift. */
  readonly leaseExpires: UnixMs | undefined;
  readonly desired: Desired | undefined;
  readonly reported: Reported | undefined;
  readonly last: Readonly<Partial<Record<Metric, number>>>;
  readonly lastSampleAt: UnixMs | undefined;
}

/** A fact about one device, with the instant we learned it. */
export type FleetEvent =
  | { readonly kind: 'enrolled'; readonly deviceId: DeviceId; readonly board: BoardId; readonly at: UnixMs }
  | { readonly kind: 'removed'; readonly deviceId: DeviceId; readonly at: UnixMs }
  | { readonly kind: 'presence'; readonly deviceId: DeviceId; readonly presence: Presence; readonly at: UnixMs }
  | { readonly kind: 'reported'; readonly deviceId: DeviceId; readonly reported: Reported; readonly at: UnixMs }
  | {
      readonly kind: 'observed';
      readonly deviceId: DeviceId;
      readonly epoch: number;
      readonly last: Readonly<Partial<Record<Metric, number>>>;
      readonly sampledAt: UnixMs;
      readonly at: UnixMs;
    }
  | { readonly kind: 'desired'; readonly deviceId: DeviceId; readonly desired: Desired; readonly at: UnixMs }
  | { readonly kind: 'lease-expired'; readonly deviceId: DeviceId; readonly at: UnixMs };

/** What an accepted event changed, told to subscribers after the change. */
export interface FleetChange {
  readonly event: FleetEvent;
  readonly before: Device | undefined;
  readonly after: Device | undefined;
}

/** All devices at one instant; immutable. */
export type FleetSnapshot = ReadonlyMap<DeviceId, Device>;

/** Jobs that a device runs at once: one where it has not said. */
export function concurrencyOf(device: Device | undefined): number {
  return device?.reported?.concurrency ?? 1;
}

/**
 * What a device that is online has said of itself in its present session; undefined before, and while it is offline. A
 * program that was started again holds nothing of what the one before it held.
 */
export function presentReport({ presence, epoch, reported }: Device): Reported | undefined {
  return presence !== 'online' || reported === undefined || reported.epoch < epoch ? undefined : reported;
}
