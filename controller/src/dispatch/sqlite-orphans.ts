import type { RequestView } from '@fleetgate/shared/api/operations';
import type { UnixMs } from '@fleetgate/shared/units/quantity';
import { In, Not } from 'typeorm';

import type { Database } from '../platform/database.js';
import { endedByCrash } from './ledger.js';
import { encodeRecord } from './record-codec.js';
import { recordOf, requestEntity, rowOf } from './sqlite-request-row.js';

/**
 * Ends the requests of controllers that are none of `owners`, and takes them from their owner; gives the records as they were.
 * `write` lets the one that leads alone.
 */
export async function closeOrphans(
  owners: readonly string[],
  at: UnixMs,
  error: { readonly code: string; readonly message: string },
  write: Database['write'],
): Promise<readonly RequestView[]> {
  return write(async (manager) => {
    const rows = await manager.findBy(requestEntity, { open: true, owner: Not(In([...owners])) });
    const records = rows.map(recordOf);
    for (const record of records) {
      const ended = endedByCrash(record, at, error);
      await manager.update(requestEntity, { id: record.id }, rowOf(ended, encodeRecord(ended), ''));
    }
    return records;
  });
}
