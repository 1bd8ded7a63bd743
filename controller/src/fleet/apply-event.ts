import { after, type Milliseconds, type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import { unreachable } from '@fleetgate/shared/errors';

import type { Device, FleetEvent } from './device.js';

export interface FleetSettings {
  /** A device that gives no sign of life for this long is offline. */
  readonly lease: Milliseconds;
}

type EventOf<Kind extends FleetEvent['kind']> = Extract<FleetEvent, { readonly kind: Kind }>;

/**
 * The device after `event`; the same object when the event changes nothing; undefined for a device that is not (or no
 * longer) enrolled. Pure and total: any order, loss or repetition of events gives a sensible device.
 *
 * What belongs to an older session (smaller epoch) changes nothing. A session ends for good by its own will or
 * shutdown; one whose lease ran out is revived by its next sign of life.
 */
export function applyToDevice(
  device: Device | undefined,
  event: FleetEvent,
  settings: FleetSettings,
): Device | undefined {
  if (device === undefined) return event.kind === 'enrolled' ? enrolled(event) : undefined;
  const next = changed(device, event, settings);
  return next !== undefined && isSame(device, next) ? device : next;
}

function changed(device: Device, event: FleetEvent, settings: FleetSettings): Device | undefined {
  switch (event.kind) {
    case 'enrolled':
      return device;
    case 'removed':
      return undefined;
    case 'presence':
      return applyPresence(device, event, settings);
    case 'reported':
      return applyReported(device, event, settings);
    case 'observed':
      return applyObserved(device, event, settings);
    case 'desired': {
      const newer = device.desired === undefined || event.desired.generation > device.desired.generation;
      return newer ? Object.freeze({ ...device, desired: event.desired }) : device;
    }
    case 'lease-expired': {
      const expired =
        device.presence === 'online' && device.leaseExpires !== undefined && device.leaseExpires <= event.at;
      return expired ? Object.freeze({ ...device, presence: 'offline' as const }) : device;
    }
    default:
      return unreachable(event);
  }
}

function isSame(device: Device, next: Device): boolean {
  return device === next || (Object.keys(next) as (keyof Device)[]).every((key) => device[key] === next[key]);
}

function enrolled(event: EventOf<'enrolled'>): Device {
  return Object.freeze({
    id: event.deviceId,
    board: event.board,
    enrolledAt: event.at,
    presence: 'never-seen' as const,
    epoch: 0,
    lastSeen: undefined,
    leaseExpires: undefined,
    desired: undefined,
    reported: undefined,
    last: Object.freeze({}),
    lastSampleAt: undefined,
  });
}

function applyPresence(device: Device, event: EventOf<'presence'>, settings: FleetSettings): Device {
  const { epoch, state, reason } = event.presence;
  if (epoch < device.epoch) return device;
  if (state === 'online') {
    return epoch === device.epoch && isEnded(device) ? device : alive({ ...device, epoch }, event.at, settings);
  }
  if (epoch === device.epoch && isEnded(device)) return device;
  return Object.freeze({
    ...device,
    epoch,
    presence: 'offline' as const,
    leaseExpires: undefined,
    // A will is the broker's word, not the device's.
    lastSeen: reason === 'shutdown' ? latest(device.lastSeen, event.at) : device.lastSeen,
  });
}

function applyReported(device: Device, event: EventOf<'reported'>, settings: FleetSettings): Device {
  const { reported } = event;
  if (reported.epoch < device.epoch) return device;
  const known = device.reported;
  // Within a session generations only grow: a smaller one is a late copy.
  const late = known?.epoch === reported.epoch && reported.observedGeneration < known.observedGeneration;
  if (late) return device;
  const next = { ...device, epoch: reported.epoch, reported };
  if (device.presence === 'online') return alive(next, event.at, settings);
  // The document is retained: the broker may be telling of a device that is long gone, so it revives nobody. Of a session
  // that is news, though, nobody has said that it ended: its presence may come later, for brokers keep order by topic.
  return Object.freeze(reported.epoch > device.epoch ? { ...next, leaseExpires: event.at } : next);
}

function applyObserved(device: Device, event: EventOf<'observed'>, settings: FleetSettings): Device {
  if (event.epoch < device.epoch || (event.epoch === device.epoch && isEnded(device))) return device;
  const newer = device.lastSampleAt === undefined || event.sampledAt > device.lastSampleAt;
  const next = newer
    ? { ...device, last: Object.freeze({ ...device.last, ...event.last }), lastSampleAt: event.sampledAt }
    : device;
  return alive({ ...next, epoch: event.epoch }, event.at, settings);
}

/** A session that ended by its will or by shutdown holds no lease; one that merely fell silent keeps the expired one. */
function isEnded(device: Device): boolean {
  return device.presence === 'offline' && device.leaseExpires === undefined;
}

function alive(device: Device, at: UnixMs, settings: FleetSettings): Device {
  return Object.freeze({
    ...device,
    presence: 'online' as const,
    lastSeen: latest(device.lastSeen, at),
    leaseExpires: latest(device.leaseExpires, after(at, settings.lease)),
  });
}

function latest(known: UnixMs | undefined, at: UnixMs): UnixMs {
  return known === undefined ? at : unixMs(Math.max(known, at));
}
