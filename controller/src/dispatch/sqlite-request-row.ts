import type { RequestView } from '@fleetgate/shared/api/operations';
import { EntitySchema } from 'typeorm';

import type { DatabaseSchema } from '../platform/database.js';
import { TERMINAL_STATES } from './ledger.js';
import { decodeRecord } from './record-codec.js';
import { RequestOwner1764500000000, RequestTables1764000005000 } from './request-tables.migration.js';

/** What waits is kept as this text, too: objects that live for a while cost the collector of garbage more. */
export interface RequestRow {
  id: string;
  /** Which of several controllers answers for it; empty where there is one, or where that one is gone. */
  owner: string;
  receivedAtMs: number;
  open: boolean;
  record: string;
}

export const requestEntity = new EntitySchema<RequestRow>({
  name: 'Request',
  tableName: 'request',
  columns: {
    id: { type: 'text', primary: true },
    owner: { type: 'text', default: '' },
    receivedAtMs: { type: 'bigint' },
    open: { type: 'boolean' },
    record: { type: 'text' },
  },
});

export const dispatchSchema: DatabaseSchema = {
  entities: [requestEntity],
  migrations: [RequestTables1764000005000, RequestOwner1764500000000],
};

export function rowOf({ id, receivedAtMs, state }: RequestView, record: string, owner: string): RequestRow {
  return { id, owner, receivedAtMs, open: !TERMINAL_STATES.has(state), record };
}

export const recordOf = (row: RequestRow): RequestView => decodeRecord(row.record);
