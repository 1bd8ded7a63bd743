import type { DeviceId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

/** What is remembered of a device's certificate. */
export interface CertificateRecord {
  readonly serial: string;
  readonly deviceId: DeviceId;
  readonly keySha256: string;
  readonly notAfter: UnixMs;
  readonly revokedAt: UnixMs | undefined;
}

/** Where certificate records rest. Written by `CertificateRegister` alone. */
export interface CertificateStore {
  load(): Promise<readonly CertificateRecord[]>;
  /** Puts records by their serial, new or known. Atomic. */
  put(records: readonly CertificateRecord[]): Promise<void>;
  /** Forgets those that ran out before `at`, but for the last one of each device. */
  forgetBefore(at: UnixMs): Promise<void>;
}

/** Keeps records in memory: for tests. Passes the same contract suite as the SQLite store. */
export class MemoryCertificateStore implements CertificateStore {
  readonly #records = new Map<string, CertificateRecord>();

  load(): Promise<readonly CertificateRecord[]> {
    return Promise.resolve([...this.#records.values()]);
  }

  put(records: readonly CertificateRecord[]): Promise<void> {
    for (const record of records) this.#records.set(record.serial, record);
    return Promise.resolve();
  }

  forgetBefore(at: UnixMs): Promise<void> {
    for (const { serial, deviceId, notAfter } of this.#records.values()) {
      const others = [...this.#records.values()].filter((other) => other.deviceId === deviceId);
      if (notAfter < at && others.some((other) => other.notAfter > notAfter)) this.#records.delete(serial);
    }
    return Promise.resolve();
  }
}
