import { deviceId, variantId } from '@fleetgate/shared/ids';

import { NO_EVIDENCE } from './rollout-evidence.js';
import type { RolloutRecord } from './rollout-record.js';
import { gateSchema, waveSchema, type Wave } from './rollout-spec.js';
import type { RolloutDevice } from './wave-devices.js';

export const OLD = variantId('math-q8');
export const NEW = variantId('math-q4');

export function wave(who: Wave['devices'], more: object = {}): Wave {
  return waveSchema.parse({ devices: who, soakS: 10, deadlineS: 1000, ...more });
}

export function rolloutOf(more: Partial<RolloutRecord> = {}): RolloutRecord {
  return {
    id: 'ro-1',
    createdAtMs: 0,
    subject: { kind: 'variant', incumbent: OLD, candidate: NEW },
    waves: [wave({ count: 1 }), wave({ percent: 100 })],
    gate: gateSchema.parse({ quality: null }),
    state: 'running',
    wave: 0,
    waveBeganAtMs: 0,
    devices: [],
    evidence: NO_EVIDENCE,
    ...more,
  };
}

export function deviceOf(name: string, more: Partial<RolloutDevice> = {}): RolloutDevice {
  return {
    id: deviceId(name),
    board: 'raspberry-pi-5',
    isOnline: true,
    candidate: 'absent',
    charging: undefined,
    network: undefined,
    temperatureC: undefined,
    ...more,
  };
}
