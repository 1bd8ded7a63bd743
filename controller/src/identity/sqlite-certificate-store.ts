import { deviceId } from '@fleetgate/shared/ids';
import { type UnixMs, unixMs } from '@fleetgate/shared/units/quantity';
import { EntitySchema } from 'typeorm';

import type { Database, DatabaseSchema } from '../platform/database.js';
import type { CertificateRecord, CertificateStore } from './certificate-store.js';
import { DeviceCertificates1764000020000 } from './identity-tables.migration.js';

interface CertificateRow {
  serial: string;
  deviceId: string;
  keySha256: string;
  notAfterMs: number;
  revokedAtMs: number | null;
}

const certificateEntity = new EntitySchema<CertificateRow>({
  name: 'DeviceCertificate',
  tableName: 'device_certificate',
  columns: {
    serial: { type: 'text', primary: true },
    deviceId: { type: 'text' },
    keySha256: { type: 'text' },
    notAfterMs: { type: 'integer' },
    revokedAtMs: { type: 'integer', nullable: true },
  },
});

export const identitySchemaOfDatabase: DatabaseSchema = {
  entities: [certificateEntity],
  migrations: [DeviceCertificates1764000020000],
};

/** Certificate records in the control database. */
export class SqliteCertificateStore implements CertificateStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async load(): Promise<readonly CertificateRecord[]> {
    const rows = await this.#database.source.getRepository(certificateEntity).find({ order: { serial: 'ASC' } });
    return rows.map((row) => ({
      serial: row.serial,
      deviceId: deviceId(row.deviceId),
      keySha256: row.keySha256,
      notAfter: unixMs(row.notAfterMs),
      revokedAt: row.revokedAtMs === null ? undefined : unixMs(row.revokedAtMs),
    }));
  }

  async put(records: readonly CertificateRecord[]): Promise<void> {
    const rows = records.map(({ notAfter, revokedAt, ...record }): CertificateRow => {
      return { ...record, notAfterMs: notAfter, revokedAtMs: revokedAt ?? null };
    });
    await this.#database.write((manager) => manager.upsert(certificateEntity, rows, ['serial']));
  }

  async forgetBefore(at: UnixMs): Promise<void> {
    await this.#database.write((manager) =>
      manager.query(
        `DELETE FROM device_certificate WHERE notAfterMs < ? AND EXISTS (
          SELECT 1 FROM device_certificate newer
          WHERE newer.deviceId = device_certificate.deviceId AND newer.notAfterMs > device_certificate.notAfterMs)`,
        [at],
      ),
    );
  }
}
