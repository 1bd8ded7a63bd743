import { boardId, deviceId } from '@fleetgate/shared/ids';
import type { Reported } from '@fleetgate/shared/protocol/twin';
import { unixMs } from '@fleetgate/shared/units/quantity';

import type { Device } from './device.js';

/** A device as tests need one: online, in its first session, with whatever the test says of it. */
export function aDevice(parts: Partial<Device> = {}): Device {
  return {
    id: deviceId('pi'),
    board: boardId('raspberry-pi-5'),
    enrolledAt: unixMs(1000),
    presence: 'online',
    epoch: 1,
    lastSeen: unixMs(2000),
    leaseExpires: unixMs(17_000),
    desired: undefined,
    reported: undefined,
    last: {},
    lastSampleAt: undefined,
    ...parts,
  };
}

/** A reported document as tests need one. */
export function aReported(parts: Partial<Reported> = {}): Reported {
  return {
    v: 1,
    epoch: 1,
    observedGeneration: 0,
    settled: true,
    state: 'active',
    board: boardId('raspberry-pi-5'),
    agentVersion: '0.1.0',
    host: { id: 'host-1', os: 'Linux', arch: 'arm64', cpu: 'Cortex-A76', cores: 4, memoryBytes: 8e9 },
    engine: { kind: 'llama', version: 'b1', state: 'ready' },
    memory: { budgetBytes: 4e9, usedBytes: 0 },
    storage: { freeBytes: 10e9 },
    slots: 4,
    concurrency: 1,
    power: { source: 'modelled', from: 'board profile', idleW: 3, loadW: 10, standbyW: 2 },
    variants: [],
    measurements: [],
    ...parts,
  };
}
