import { boardId, type DeviceId, deviceId } from '@fleetgate/shared/ids';
import { type Desired, desiredSchema, type Reported, reportedSchema } from '@fleetgate/shared/protocol/twin';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { EntitySchema } from 'typeorm';
import type { z } from 'zod';

import type { Database, DatabaseSchema } from '../platform/database.js';
import type { Device } from './device.js';
import { type Credentials, type FleetStore, nameTaken, type StoredDevice } from './fleet-store.js';
import {
  EnrolmentNonce1764000006000,
  FleetTables1764000001000,
  MosquittoDigest1764000007000,
} from './fleet-tables.migration.js';

interface DeviceRow {
  id: string;
  board: string;
  secretSha256: string;
  nonceSha256: string | null;
  mosquittoDigest: string | null;
  enrolledAtMs: number;
  presence: string;
  epoch: number;
  lastSeenMs: number | null;
  leaseExpiresMs: number | null;
  desired: string | null;
  reported: string | null;
}

const deviceEntity = new EntitySchema<DeviceRow>({
  name: 'Device',
  tableName: 'device',
  columns: {
    id: { type: 'text', primary: true },
    board: { type: 'text' },
    secretSha256: { type: 'text' },
    nonceSha256: { type: 'text', nullable: true },
    mosquittoDigest: { type: 'text', nullable: true },
    enrolledAtMs: { type: 'integer' },
    presence: { type: 'text' },
    epoch: { type: 'integer' },
    lastSeenMs: { type: 'integer', nullable: true },
    leaseExpiresMs: { type: 'integer', nullable: true },
    desired: { type: 'text', nullable: true },
    reported: { type: 'text', nullable: true },
  },
});

export const fleetSchema: DatabaseSchema = {
  entities: [deviceEntity],
  migrations: [FleetTables1764000001000, EnrolmentNonce1764000006000, MosquittoDigest1764000007000],
};

/** The fleet in the control database. */
export class SqliteFleetStore implements FleetStore {
  readonly #database: Database;
  readonly #leader: Pick<Database, 'write'>;

  /** `leader`: by which what becomes of devices is written, so that only the controller that leads does. */
  constructor(database: Database, leader: Pick<Database, 'write'> = database) {
    this.#database = database;
    this.#leader = leader;
  }

  async load(): Promise<readonly StoredDevice[]> {
    const rows = await this.#database.source.getRepository(deviceEntity).find({ order: { id: 'ASC' } });
    return rows.map((row) => ({ device: fromRow(row), credentials: credentialsOf(row) }));
  }

  async add(device: Device, credentials: Credentials): Promise<void> {
    await this.#database.write(async (manager) => {
      if (await manager.existsBy(deviceEntity, { id: device.id })) throw nameTaken(device.id);
      await manager.insert(deviceEntity, { ...toRow(device), ...columnsOf(credentials) });
    });
  }

  async setCredentials(id: DeviceId, credentials: Credentials): Promise<void> {
    await this.#database.write((manager) => manager.update(deviceEntity, { id }, columnsOf(credentials)));
  }

  async save(devices: readonly Device[]): Promise<void> {
    if (devices.length === 0) return;
    await this.#leader.write(async (manager) => {
      for (const device of devices) await manager.update(deviceEntity, { id: device.id }, toRow(device));
    });
  }

  async remove(id: DeviceId): Promise<void> {
    await this.#database.write((manager) => manager.delete(deviceEntity, { id }));
  }
}

type CredentialColumns = Pick<DeviceRow, 'secretSha256' | 'nonceSha256' | 'mosquittoDigest'>;

function columnsOf({ secretSha256, nonceSha256, mosquittoDigest }: Credentials): CredentialColumns {
  return { secretSha256, nonceSha256: nonceSha256 ?? null, mosquittoDigest: mosquittoDigest ?? null };
}

function credentialsOf({ secretSha256, nonceSha256, mosquittoDigest }: CredentialColumns): Credentials {
  return {
    secretSha256,
    ...(nonceSha256 === null ? {} : { nonceSha256 }),
    ...(mosquittoDigest === null ? {} : { mosquittoDigest }),
  };
}

function toRow(device: Device): Omit<DeviceRow, keyof CredentialColumns> {
  return {
    id: device.id,
    board: device.board,
    enrolledAtMs: device.enrolledAt,
    presence: device.presence,
    epoch: device.epoch,
    lastSeenMs: device.lastSeen ?? null,
    leaseExpiresMs: device.leaseExpires ?? null,
    desired: device.desired === undefined ? null : JSON.stringify(device.desired),
    reported: device.reported === undefined ? null : JSON.stringify(device.reported),
  };
}

function fromRow(row: DeviceRow): Device {
  return Object.freeze({
    id: deviceId(row.id),
    board: boardId(row.board),
    enrolledAt: unixMs(row.enrolledAtMs),
    presence: row.presence === 'online' || row.presence === 'offline' ? row.presence : 'never-seen',
    epoch: row.epoch,
    lastSeen: row.lastSeenMs === null ? undefined : unixMs(row.lastSeenMs),
    leaseExpires: row.leaseExpiresMs === null ? undefined : unixMs(row.leaseExpiresMs),
    desired: document<Desired>(desiredSchema, row.desired),
    reported: document<Reported>(reportedSchema, row.reported),
    last: Object.freeze({}),
    lastSampleAt: undefined,
  });
}

/** A document of an earlier release that no longer parses is forgotten: the device and the planner make it anew. */
function document<T>(schema: z.ZodType<T>, text: string | null): T | undefined {
  if (text === null) return undefined;
  const result = schema.safeParse(JSON.parse(text));
  return result.success ? result.data : undefined;
}
