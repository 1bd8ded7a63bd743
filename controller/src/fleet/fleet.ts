import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { BoardId, DeviceId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { after, milliseconds } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject } from 'rxjs';

import { applyToDevice, type FleetSettings } from './apply-event.js';
import type { Device, FleetChange, FleetEvent, FleetSnapshot } from './device.js';
import type { Credentials, FleetStore, StoredDevice } from './fleet-store.js';

const LEASE_CHECK = milliseconds(500);
const SAVE_RETRY = milliseconds(5000);

/**
 * The fleet registry: the only writer of what the controller knows of its devices.
 *
 * `record` is synchronous and memory is the truth; the store follows behind, newest state only, so that a slow disk
 * delays no message. `flush` waits for it.
 */
export class Fleet {
  readonly #devices = new Map<DeviceId, Device>();
  readonly #credentials = new Map<DeviceId, Credentials>();
  readonly #changes = new Subject<FleetChange>();
  readonly #pending: FleetChange[] = [];
  readonly #unsaved = new Set<DeviceId>();
  readonly #store: FleetStore;
  readonly #settings: FleetSettings;
  readonly #mayKeep: () => boolean;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stopLeases: () => void;
  #stopRetry: () => void = () => {};
  #telling = false;
  /** Counts who came and went here: what is read meanwhile does not know of it. */
  #enrolments = 0;
  #saving: Promise<void> | undefined;

  private constructor(parts: FleetParts) {
    this.#store = parts.store;
    this.#settings = parts.settings;
    this.#mayKeep = parts.mayKeep ?? (() => true);
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#stopLeases = parts.clock.every(LEASE_CHECK, () => this.#expireLeases());
  }

  /**
   * Reads the fleet back. Devices that were online get one more lease: they need a moment to reconnect, and a
   * controller that restarts must not take its fleet for lost.
   */
  static async open(parts: FleetParts): Promise<Fleet> {
    const stored = await parts.store.load();
    const fleet = new Fleet(parts);
    for (const { device, credentials } of stored) {
      const online = device.presence === 'online';
      const leaseExpires = online ? after(parts.clock.now(), parts.settings.lease) : device.leaseExpires;
      fleet.#devices.set(device.id, Object.freeze({ ...device, leaseExpires }));
      fleet.#credentials.set(device.id, credentials);
    }
    return fleet;
  }

  /** Takes up what another controller has kept: who is enrolled, and newer desired documents. Rejects as the store does. */
  async reload(): Promise<void> {
    for (let seen = -1; seen !== this.#enrolments;) {
      seen = this.#enrolments;
      const stored = await this.#store.load();
      if (seen === this.#enrolments) this.#takeUp(stored);
    }
  }

  #takeUp(stored: readonly StoredDevice[]): void {
    const at = this.#clock.now();
    const ids = new Set(stored.map(({ device }) => device.id));
    for (const deviceId of [...this.#devices.keys()]) {
      if (ids.has(deviceId)) continue;
      this.#credentials.delete(deviceId);
      this.#unsaved.delete(deviceId);
      this.#apply({ kind: 'removed', deviceId, at });
    }
    for (const { device, credentials } of stored) {
      const { id: deviceId, board, desired } = device;
      this.#credentials.set(deviceId, credentials);
      this.#apply({ kind: 'enrolled', deviceId, board, at: device.enrolledAt });
      if (desired !== undefined) this.#apply({ kind: 'desired', deviceId, desired, at });
    }
  }

  /** Devices as they are now; changes under the reader's hands at the next `record`. */
  get view(): ReadonlyMap<DeviceId, Device> {
    return this.#devices;
  }

  /** Every accepted event with its device before and after, in order, after the change. */
  get changes$(): Observable<FleetChange> {
    return this.#changes;
  }

  snapshot(): FleetSnapshot {
    return new Map(this.#devices);
  }

  credentials(id: DeviceId): Credentials | undefined {
    return this.#credentials.get(id);
  }

  /** Takes up a fact. What is of an older session, repeated, or of a device that is not enrolled changes nothing. */
  record(event: FleetEvent): void {
    // Enrolment and removal are durable before they show: they have methods of their own.
    if (event.kind === 'enrolled' || event.kind === 'removed') {
      throw new FleetError('internal.invariant', `${event.kind} is recorded by enrol and remove`);
    }
    this.#apply(event);
  }

  /** Adds a device. Rejects with `enrol.name-taken`; when it resolves, the device outlives a crash. */
  async enrol(deviceId: DeviceId, board: BoardId, credentials: Credentials): Promise<Device> {
    const event = { kind: 'enrolled', deviceId, board, at: this.#clock.now() } as const;
    const device = applyToDevice(undefined, event, this.#settings);
    if (device === undefined) throw new FleetError('internal.invariant', `${deviceId} could not be made`);
    await this.#store.add(device, credentials);
    this.#enrolments += 1;
    this.#credentials.set(deviceId, credentials);
    this.#apply(event);
    return device;
  }

  /** Gives an enrolled device other credentials: the old ones are dead at once. */
  async setCredentials(deviceId: DeviceId, credentials: Credentials): Promise<void> {
    this.#credentials.set(deviceId, credentials);
    await this.#store.setCredentials(deviceId, credentials);
  }

  /** Removes a device; false when there is none of that id. */
  async remove(deviceId: DeviceId): Promise<boolean> {
    if (!this.#devices.has(deviceId)) return false;
    await this.#store.remove(deviceId);
    this.#enrolments += 1;
    this.#credentials.delete(deviceId);
    this.#unsaved.delete(deviceId);
    this.#apply({ kind: 'removed', deviceId, at: this.#clock.now() });
    return true;
  }

  /** Resolves when everything recorded so far is in the store; rejects when it cannot be written. */
  async flush(): Promise<void> {
    while (this.#unsaved.size > 0 || this.#saving !== undefined) {
      await (this.#saving ?? this.#save());
    }
  }

  async close(): Promise<void> {
    this.#stopLeases();
    this.#stopRetry();
    await this.flush();
    this.#changes.complete();
  }

  #apply(event: FleetEvent): void {
    const before = this.#devices.get(event.deviceId);
    const next = applyToDevice(before, event, this.#settings);
    if (next === before) return;
    if (next === undefined) this.#devices.delete(event.deviceId);
    else this.#devices.set(event.deviceId, next);
    if (before !== undefined && next !== undefined && this.#mayKeep() && isWorthSaving(before, next)) {
      this.#unsaved.add(next.id);
      this.#saveSoon();
    }
    this.#tell({ event, before, after: next });
  }

  /** A subscriber may record in turn: its change is told after this one, to everyone. */
  #tell(change: FleetChange): void {
    this.#pending.push(change);
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) this.#changes.next(next);
    } finally {
      this.#telling = false;
    }
  }

  #expireLeases(): void {
    const at = this.#clock.now();
    for (const device of this.#devices.values()) {
      if (device.presence === 'online' && device.leaseExpires !== undefined && device.leaseExpires <= at) {
        this.#log.info('device.lease-expired', { deviceId: device.id, lastSeenMs: device.lastSeen });
        this.#apply({ kind: 'lease-expired', deviceId: device.id, at });
      }
    }
  }

  #saveSoon(): void {
    if (this.#saving !== undefined) return;
    this.#save().catch((error: unknown) => {
      this.#log.error('fleet.not-saved', { reason: messageOf(error), retryMs: SAVE_RETRY });
      this.#stopRetry();
      this.#stopRetry = this.#clock.after(SAVE_RETRY, () => this.#saveSoon());
    });
  }

  #save(): Promise<void> {
    const saving = this.#saveUnsaved().finally(() => {
      this.#saving = undefined;
    });
    this.#saving = saving;
    return saving;
  }

  async #saveUnsaved(): Promise<void> {
    // One turn of the event loop lets the changes of a burst go into one transaction.
    await Promise.resolve();
    while (this.#unsaved.size > 0) {
      const ids = [...this.#unsaved];
      this.#unsaved.clear();
      const devices = ids.map((id) => this.#devices.get(id)).filter((device) => device !== undefined);
      try {
        await this.#store.save(devices);
      } catch (error) {
        for (const { id } of devices) this.#unsaved.add(id);
        throw error;
      }
    }
  }
}

export interface FleetParts {
  readonly store: FleetStore;
  readonly settings: FleetSettings;
  /** Whether what becomes of devices is kept here; absent: it is. Who is enrolled always is. */
  readonly mayKeep?: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A renewed lease or a telemetry value alone is not: there are many, and neither outlives a restart. */
function isWorthSaving(before: Device, next: Device): boolean {
  return (
    before.presence !== next.presence ||
    before.epoch !== next.epoch ||
    before.desired !== next.desired ||
    before.reported !== next.reported
  );
}
