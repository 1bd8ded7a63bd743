import { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId } from '@fleetgate/shared/ids';

import type { Device } from './device.js';

/** By what a device is known. Digests alone (SHA-256 in hexadecimal): neither secret nor nonce is kept. */
export interface Credentials {
  readonly secretSha256: string;
  /** The secret as an external mosquitto wants it; made for every device, whatever broker there is when it enrols. */
  readonly mosquittoDigest?: string;
  /** Of the nonce of its enrolment, when it gave one. */
  readonly nonceSha256?: string;
}

/** A device as it rests, with its credentials; telemetry is not kept here. */
export interface StoredDevice {
  readonly device: Device;
  readonly credentials: Credentials;
}

/** Where the fleet rests. Written by `Fleet` alone. */
export interface FleetStore {
  load(): Promise<readonly StoredDevice[]>;
  /** Rejects with `enrol.name-taken` when a device of that id is there. */
  add(device: Device, credentials: Credentials): Promise<void>;
  /** Replaces the credentials of an enrolled device; another is passed over. */
  setCredentials(id: DeviceId, credentials: Credentials): Promise<void>;
  /** Updates what is known of enrolled devices; others are passed over. Atomic. */
  save(devices: readonly Device[]): Promise<void>;
  remove(id: DeviceId): Promise<void>;
}

export function nameTaken(id: DeviceId): FleetError {
  return new FleetError('enrol.name-taken', `a device named ${id} is enrolled already`, {
    hint: `choose another name, or remove the old device with \`fleetgate devices remove ${id}\``,
  });
}

/** Keeps the fleet in memory: for tests and simulation. Passes the same contract suite as the SQLite store. */
export class MemoryFleetStore implements FleetStore {
  readonly #devices = new Map<DeviceId, StoredDevice>();

  load(): Promise<readonly StoredDevice[]> {
    return Promise.resolve([...this.#devices.values()]);
  }

  add(device: Device, credentials: Credentials): Promise<void> {
    if (this.#devices.has(device.id)) return Promise.reject(nameTaken(device.id));
    this.#devices.set(device.id, { device: atRest(device), credentials });
    return Promise.resolve();
  }

  setCredentials(id: DeviceId, credentials: Credentials): Promise<void> {
    const known = this.#devices.get(id);
    if (known !== undefined) this.#devices.set(id, { ...known, credentials });
    return Promise.resolve();
  }

  save(devices: readonly Device[]): Promise<void> {
    for (const device of devices) {
      const known = this.#devices.get(device.id);
      if (known !== undefined) this.#devices.set(device.id, { ...known, device: atRest(device) });
    }
    return Promise.resolve();
  }

  remove(id: DeviceId): Promise<void> {
    this.#devices.delete(id);
    return Promise.resolve();
  }
}

/** What of a device is kept: everything but the last telemetry values. */
export function atRest(device: Device): Device {
  return { ...device, last: {}, lastSampleAt: undefined };
}
