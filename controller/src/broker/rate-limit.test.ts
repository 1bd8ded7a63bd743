import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { unixMs } from '@fleetgate/shared/units/quantity';

import { type RateLimit, fullBucket, take } from './rate-limit.js';

const limit: RateLimit = { perSecond: 10, burst: 20 };

test('a burst is free, what goes beyond it has to wait', () => {
  const full = fullBucket(limit, unixMs(0));
  const burst = take(limit, full, 20, unixMs(0));
  expect(burst.wait).toBe(0);
  const more = take(limit, burst.level, 5, unixMs(0));
  expect(more.wait).toBe(500);
  expect(take(limit, more.level, 0, unixMs(500)).wait).toBe(0);
});

test('a clock that steps back gives nothing', () => {
  const { level } = take(limit, fullBucket(limit, unixMs(1_000)), 20, unixMs(1_000));
  expect(take(limit, level, 1, unixMs(0)).wait).toBe(100);
});

test('who waits as told never gets more than the burst and the rate', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 3_000 }))), (steps) => {
      let now = 0;
      let taken = 0;
      let level = fullBucket(limit, unixMs(0));
      for (const [amount, pause] of steps) {
        const answer = take(limit, level, amount, unixMs(now));
        ({ level } = answer);
        taken += amount;
        now += answer.wait + pause;
        expect(taken).toBeLessThanOrEqual(limit.burst + (limit.perSecond * now) / 1000 + 1e-6);
      }
    }),
  );
});
