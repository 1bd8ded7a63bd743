import { unixMs } from '@fleetgate/shared/units/quantity';
import { EntitySchema } from 'typeorm';

import type { Database, DatabaseSchema } from '../platform/database.js';
import type { EnrolmentStore, JoinToken, Waiting } from './enrolment-store.js';
import { JoinTokens1764000021000 } from './enrolment-tables.migration.js';

interface TokenRow {
  id: string;
  secretSha256: string;
  createdAtMs: number;
  expiresAtMs: number;
  usesLeft: number;
}

interface WaitingRow {
  name: string;
  board: string;
  nonceSha256: string;
  keySha256: string | null;
  address: string;
  askedAtMs: number;
  verdict: string;
}

const tokenEntity = new EntitySchema<TokenRow>({
  name: 'JoinToken',
  tableName: 'join_token',
  columns: {
    id: { type: 'text', primary: true },
    secretSha256: { type: 'text' },
    createdAtMs: { type: 'integer' },
    expiresAtMs: { type: 'integer' },
    usesLeft: { type: 'integer' },
  },
});

const waitingEntity = new EntitySchema<WaitingRow>({
  name: 'WaitingDevice',
  tableName: 'waiting_device',
  columns: {
    name: { type: 'text', primary: true },
    board: { type: 'text' },
    nonceSha256: { type: 'text' },
    keySha256: { type: 'text', nullable: true },
    address: { type: 'text' },
    askedAtMs: { type: 'integer' },
    verdict: { type: 'text' },
  },
});

export const enrolmentSchema: DatabaseSchema = {
  entities: [tokenEntity, waitingEntity],
  migrations: [JoinTokens1764000021000],
};

/** Join tokens and waiting devices in the control database. */
export class SqliteEnrolmentStore implements EnrolmentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async tokens(): Promise<readonly JoinToken[]> {
    const rows = await this.#database.source.getRepository(tokenEntity).find({ order: { createdAtMs: 'ASC' } });
    return rows.map(({ createdAtMs, expiresAtMs, ...row }) => ({
      ...row,
      createdAt: unixMs(createdAtMs),
      expiresAt: unixMs(expiresAtMs),
    }));
  }

  async putToken({ createdAt, expiresAt, ...token }: JoinToken): Promise<void> {
    const row: TokenRow = { ...token, createdAtMs: createdAt, expiresAtMs: expiresAt };
    await this.#database.write((manager) => manager.upsert(tokenEntity, row, ['id']));
  }

  async removeToken(id: string): Promise<void> {
    await this.#database.write((manager) => manager.delete(tokenEntity, { id }));
  }

  async waiting(): Promise<readonly Waiting[]> {
    const rows = await this.#database.source.getRepository(waitingEntity).find({ order: { askedAtMs: 'ASC' } });
    return rows.map(({ askedAtMs, keySha256, verdict, ...row }) => ({
      ...row,
      keySha256: keySha256 ?? undefined,
      askedAt: unixMs(askedAtMs),
      verdict: verdict === 'approved' || verdict === 'denied' ? verdict : 'none',
    }));
  }

  async putWaiting({ askedAt, keySha256, ...waiting }: Waiting): Promise<void> {
    const row: WaitingRow = { ...waiting, keySha256: keySha256 ?? null, askedAtMs: askedAt };
    await this.#database.write((manager) => manager.upsert(waitingEntity, row, ['name']));
  }

  async removeWaiting(name: string): Promise<void> {
    await this.#database.write((manager) => manager.delete(waitingEntity, { name }));
  }
}
