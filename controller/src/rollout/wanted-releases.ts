import type { SignedRelease } from '@fleetgate/shared/catalogue/release';
import type { Desired } from '@fleetgate/shared/protocol/twin';

import type { Device } from '../fleet/device.js';
import type { ReleaseBook } from './release-book.js';
import { boardsOf } from './rollout-devices.js';
import { isUnderWay, type RolloutRecord } from './rollout-record.js';

/** Name of the one agent there is. */
export const AGENT = 'agent';

/** Releases that a device is to have: of the newest rollout that gives it one; what was rolled back gives none. */
export function wantedReleases(
  device: Pick<Device, 'id' | 'board'>,
  records: readonly RolloutRecord[],
  releases: Pick<ReleaseBook, 'find'>,
): Desired['releases'] {
  const boardConfig = wanted('board-config', device.board, device, records, releases);
  const agent = wanted('agent', AGENT, device, records, releases);
  if (boardConfig === undefined && agent === undefined) return undefined;
  return { ...(boardConfig === undefined ? {} : { boardConfig }), ...(agent === undefined ? {} : { agent }) };
}

function wanted(
  kind: 'board-config' | 'agent',
  name: string,
  { id, board }: Pick<Device, 'id' | 'board'>,
  records: readonly RolloutRecord[],
  releases: Pick<ReleaseBook, 'find'>,
): SignedRelease | undefined {
  const gives = (record: RolloutRecord): boolean =>
    isUnderWay(record)
      ? record.devices.includes(id)
      : record.state === 'adopted' && boardsOf(record)?.has(board) !== false;
  const newest = records
    .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
    .find((record) => record.subject.kind === kind && record.subject.name === name && gives(record));
  if (newest === undefined || newest.subject.kind === 'variant') return undefined;
  return releases.find(kind, name, newest.subject.sequence);
}
