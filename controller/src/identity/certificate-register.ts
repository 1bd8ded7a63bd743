import type { DeviceId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { IssuedCertificate } from './certificate.js';
import type { CertificateRecord, CertificateStore } from './certificate-store.js';

/**
 * Which certificates of devices are good: the single writer of their records.
 *
 * Brokers let in what is listed here and nothing else, so that a certificate is dead as soon as it is off the list.
 */
export class CertificateRegister {
  readonly #store: CertificateStore;
  readonly #records = new Map<string, CertificateRecord>();
  readonly #serialsOfDevice = new Map<DeviceId, Set<string>>();
  readonly #ownerOfKey = new Map<string, DeviceId>();

  private constructor(store: CertificateStore) {
    this.#store = store;
  }

  /** Forgets what has run out, but the last one of each device. */
  static async open(store: CertificateStore, now: UnixMs): Promise<CertificateRegister> {
    const register = new CertificateRegister(store);
    await store.forgetBefore(now);
    for (const record of await store.load()) register.#take(record);
    return register;
  }

  /** Neither revoked nor run out, oldest first as they were issued. */
  live(deviceId: DeviceId, now: UnixMs): readonly CertificateRecord[] {
    const serials = [...(this.#serialsOfDevice.get(deviceId) ?? [])];
    return serials.flatMap((serial) => {
      const record = this.#records.get(serial);
      return record !== undefined && record.revokedAt === undefined && record.notAfter > now ? [record] : [];
    });
  }

  /** Whether it has a certificate that was not revoked, though it may have run out. */
  has(deviceId: DeviceId): boolean {
    const serials = [...(this.#serialsOfDevice.get(deviceId) ?? [])];
    return serials.some((serial) => this.#records.get(serial)?.revokedAt === undefined);
  }

  find(serial: string): CertificateRecord | undefined {
    return this.#records.get(serial);
  }

  /** The device that has, or had, a certificate of this key. */
  ownerOfKey(keySha256: string): DeviceId | undefined {
    return this.#ownerOfKey.get(keySha256);
  }

  /** Every revoked certificate that has not run out. */
  revoked(now: UnixMs): readonly { readonly serial: string; readonly at: UnixMs }[] {
    return [...this.#records.values()].flatMap(({ serial, revokedAt, notAfter }) =>
      revokedAt === undefined || notAfter <= now ? [] : [{ serial, at: revokedAt }],
    );
  }

  /**
   * Adds a certificate of a device and revokes its others but `kept`: with a renewal the present one, with an enrolment
   * none. When it resolves, both outlive a crash.
   */
  async add(deviceId: DeviceId, issued: IssuedCertificate, kept: readonly string[], now: UnixMs): Promise<void> {
    const { serial, keySha256, notAfter } = issued;
    const superseded = this.#revocations(deviceId, kept, now);
    this.#forgetExpired(deviceId, now);
    const added = { serial, deviceId, keySha256, notAfter, revokedAt: undefined };
    for (const record of [...superseded, added]) this.#take(record);
    await this.#store.put([...superseded, added]);
  }

  /** Revokes all certificates of a device, at once here and durably when it resolves. */
  async revokeAll(deviceId: DeviceId, now: UnixMs): Promise<void> {
    const revocations = this.#revocations(deviceId, [], now);
    for (const record of revocations) this.#take(record);
    if (revocations.length > 0) await this.#store.put(revocations);
  }

  #revocations(deviceId: DeviceId, kept: readonly string[], now: UnixMs): readonly CertificateRecord[] {
    return this.live(deviceId, now)
      .filter(({ serial }) => !kept.includes(serial))
      .map((record) => ({ ...record, revokedAt: now }));
  }

  /** The newest of a device is never forgotten: that it had one is to be known. */
  #forgetExpired(deviceId: DeviceId, now: UnixMs): void {
    const serials = this.#serialsOfDevice.get(deviceId);
    for (const serial of serials ?? []) {
      const record = this.#records.get(serial);
      if (record === undefined || record.notAfter > now) continue;
      this.#records.delete(serial);
      serials?.delete(serial);
      this.#ownerOfKey.delete(record.keySha256);
    }
  }

  #take(record: CertificateRecord): void {
    const { serial, deviceId, keySha256 } = record;
    this.#records.set(serial, record);
    this.#serialsOfDevice.set(deviceId, (this.#serialsOfDevice.get(deviceId) ?? new Set()).add(serial));
    this.#ownerOfKey.set(keySha256, deviceId);
  }
}
