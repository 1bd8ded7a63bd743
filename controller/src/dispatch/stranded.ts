import type { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId } from '@fleetgate/shared/ids';
import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { FleetSnapshot } from '../fleet/device.js';
import type { Decision } from './decide.js';
import type { DispatchConfig } from './dispatch-config.js';
import type { Request } from './request.js';

interface Facts {
  readonly lastError: FleetError | undefined;
  readonly refused: Decision & { readonly kind: 'refused' };
  readonly fleet: FleetSnapshot;
  readonly config: Pick<DispatchConfig, 'patience'>;
  readonly now: UnixMs;
}

/**
 * Whether a request that nobody serves now is looked at again: it was taken up and moved before it was sent, or its device
 * has failed it and there is another one that is to serve it or, after a loss, that the next plan may have serve it, and
 * patience is left. No plan follows a loss once the device is back. Who asks several experts goes on with those that answer.
 */
export function mayBeServedSoon(
  {
    counted,
    prompt,
    record,
    strandedAt,
    tried,
  }: Pick<Request, 'counted' | 'prompt' | 'record' | 'strandedAt' | 'tried'>,
  { config, fleet, lastError, now, refused }: Facts,
): boolean {
  if (record.attempts.length === 0) return counted && refused.error.retryable;
  if (prompt.callOf !== undefined || !refused.error.retryable) return false;
  if (strandedAt !== undefined && elapsed(strandedAt, now) >= config.patience) return false;
  const isOther = (id: DeviceId): boolean => !tried.has(id) && fleet.get(id)?.presence === 'online';
  const isAway = (id: DeviceId): boolean => {
    const { lastSeen = 0, presence } = fleet.get(id) ?? {};
    return presence !== 'online' || lastSeen <= (strandedAt ?? now);
  };
  const isLost = lastError?.code === 'device.lost' && [...tried].some(isAway);
  if (isLost && [...fleet.keys()].some(isOther)) return true;
  return refused.selection.ranked.some(
    ({ candidate: { deviceId, excluded } }) =>
      excluded !== 'not-asked-for' && deviceId !== undefined && isOther(deviceId),
  );
}
