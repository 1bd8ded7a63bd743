import { boardId, deviceId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { describe, expect, it } from 'vitest';

import { aDevice, aReported } from '../fleet/device.fixture.js';
import { NEW, OLD, rolloutOf, wave } from './rollout.fixture.js';
import { RolloutBook } from './rollout-book.js';
import { rolloutDevices, substituted } from './rollout-devices.js';
import type { RolloutRecord } from './rollout-record.js';

const [a, b] = [deviceId('a'), deviceId('b')];
const planned = new Map([
  [a, new Set([OLD])],
  [b, new Set([OLD])],
]);
const boardOf = (id: string) => (id === 'a' ? 'raspberry-pi-5' : 'jetson-orin-nano');
const placed = (record: RolloutRecord) =>
  [...substituted(planned, [record], boardOf)].map(([id, variants]) => [id, ...variants]);

describe('what rollouts make of a plan', () => {
  it('is the candidate on the devices that have it, and everywhere once it is adopted', () => {
    expect(substituted(planned, [rolloutOf()], boardOf)).toBe(planned);
    expect(placed(rolloutOf({ devices: [a] }))).toEqual([
      ['a', NEW],
      ['b', OLD],
    ]);
    expect(placed(rolloutOf({ state: 'adopted', devices: [a] }))).toEqual([
      ['a', NEW],
      ['b', NEW],
    ]);
    expect(substituted(planned, [rolloutOf({ state: 'rolled-back' })], boardOf)).toBe(planned);
  });

  it('is for the boards alone that a rollout was limited to', async () => {
    const waves = [wave({ boards: ['raspberry-pi-5'], count: 1 }), wave({ boards: ['raspberry-pi-5'], percent: 100 })];
    const record = rolloutOf({ state: 'adopted', devices: [], waves });
    expect(placed(record)).toEqual([
      ['a', NEW],
      ['b', OLD],
    ]);
    const withheld = async (one: RolloutRecord) => {
      const book = new RolloutBook({ load: async () => [one], save: async () => {} }, boardOf, silentLogger);
      await book.load();
      return [...book.withheld()];
    };
    expect(await withheld(record)).toEqual([]);
    expect(await withheld(rolloutOf({ state: 'adopted' }))).toEqual([OLD]);
    expect(await withheld(rolloutOf())).toEqual([NEW]);
    expect(await withheld(rolloutOf({ state: 'rolled-back' }))).toEqual([NEW]);
    expect(await withheld(rolloutOf({ state: 'aborted' }))).toEqual([]);
  });
});

describe('the devices that a rollout is about', () => {
  const device = (id: typeof a, residency?: 'resident' | 'loading' | 'failed') =>
    aDevice({
      id,
      board: boardId(boardOf(id)),
      last: { temperatureC: 50 },
      reported: aReported({
        variants: residency === undefined ? [] : [{ variantId: NEW, residency }],
        conditions: { charging: true, network: 'wifi' },
        releases: [{ kind: 'board-config', name: 'raspberry-pi-5', sequence: 3, state: 'active' }],
      }),
    });

  it('are those that are planned to have the incumbent, with what they say of the candidate', () => {
    const seen = rolloutDevices(rolloutOf(), [device(a, 'loading'), aDevice({ id: deviceId('c') })], planned);
    expect(seen).toEqual([
      {
        ...{ id: a, board: 'raspberry-pi-5', isOnline: true, candidate: 'coming' },
        ...{ charging: true, network: 'wifi', temperatureC: 50 },
      },
    ]);
    expect(rolloutDevices(rolloutOf(), [device(a, 'resident')], planned)[0]?.candidate).toBe('there');
    expect(rolloutDevices(rolloutOf(), [device(a, 'failed')], planned)[0]?.candidate).toBe('failed');
  });

  it('are all of a board, or all, where it is about their settings or the agent', () => {
    const both = [device(a), device(b)];
    const about = (kind: 'board-config' | 'agent', name: string, sequence: number) =>
      rolloutDevices(rolloutOf({ subject: { kind, name, sequence } }), both, planned);
    expect(about('board-config', 'raspberry-pi-5', 3)).toMatchObject([{ id: a, candidate: 'there' }]);
    expect(about('board-config', 'raspberry-pi-5', 4)).toMatchObject([{ id: a, candidate: 'absent' }]);
    expect(about('agent', 'agent', 1)).toHaveLength(2);
  });
});
