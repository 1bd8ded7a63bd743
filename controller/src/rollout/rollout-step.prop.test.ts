import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { deviceOf, rolloutOf, wave } from './rollout.fixture.js';
import { stepRollout } from './rollout-step.js';
import type { RolloutDevice } from './wave-devices.js';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const CAP = 2;
const device = (name: string) =>
  fc
    .record({
      isOnline: fc.boolean(),
      candidate: fc.constantFrom<RolloutDevice['candidate'][]>('absent', 'coming', 'there', 'there', 'there', 'failed'),
      temperatureC: fc.option(fc.constantFrom(40, 95), { nil: undefined }),
    })
    .map((state) => deviceOf(name, state));
const world = fc.tuple(...NAMES.map(device));
const waves = fc.array(
  fc.oneof(
    fc.integer({ min: 1, max: 7 }).map((count) => wave({ count })),
    fc.integer({ min: 1, max: 100 }).map((percent) => wave({ percent })),
    fc.subarray(NAMES, { minLength: 1 }).map((names) => wave({ names })),
  ),
  { minLength: 1, maxLength: 4 },
);

describe('stepRollout, whatever the fleet does', () => {
  it('moves no more than the cap a step, never gives a device back in mid-way, and ends for good', () => {
    fc.assert(
      fc.property(
        waves,
        fc.array(fc.tuple(world, fc.integer({ min: 0, max: 400 })), { maxLength: 40 }),
        (all, steps) => {
          let record = rolloutOf({ waves: all });
          let nowMs = 0;
          for (const [devices, seconds] of steps) {
            nowMs += 1000 * seconds;
            const before = record;
            record = stepRollout(before, { devices, nowMs, movesLeft: CAP });
            if (before.state !== 'running') expect(record).toBe(before);
            else if (record.state === 'running') {
              expect(record.devices.length - before.devices.length).toBeLessThanOrEqual(CAP);
              expect(record.devices.slice(0, before.devices.length)).toEqual(before.devices);
              expect(record.wave - before.wave).toBeLessThanOrEqual(1);
            }
            expect(new Set(record.devices).size).toBe(record.devices.length);
            if (record.state === 'rolled-back')
              expect(record).toMatchObject({ devices: [], reason: expect.any(String) });
            // Asked again in the same world, it goes no further than it may.
            const failing = devices.some((one) => record.devices.includes(one.id) && one.candidate === 'failed');
            if (record.state === 'running' && failing) {
              expect(stepRollout(record, { devices, nowMs, movesLeft: 0 }).state).toBe('rolled-back');
            }
          }
        },
      ),
    );
  });
});
