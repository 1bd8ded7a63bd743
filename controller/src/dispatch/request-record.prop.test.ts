import { expertId, variantId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { aPrompt } from './dispatch-fixtures.js';
import { newRequestId, openRecord, recordDecision } from './request-record.js';
import { select } from './select.js';

test('figures of a record are right to six digits, and no longer', () => {
  const now = unixMs(1_700_000_000_000);
  const record = openRecord(newRequestId(now, new SeededRandom(3)), aPrompt(), 'auto', now, false);
  const told = (quality: number): number | undefined => {
    const own = { expertId: expertId('math'), variantId: variantId('math-q8'), deviceId: undefined };
    const rest = { qualitySd: 0, cost: undefined, wait: milliseconds(0), progress: undefined, excluded: undefined };
    const selection = select([{ ...own, quality, ...rest }], { qualityPerJoule: 0, qualityPerSecond: 0 });
    return recordDecision(record, selection).candidates[0]?.quality;
  };
  const everySize = fc
    .tuple(fc.double({ min: 1, max: 10, noNaN: true }), fc.integer({ min: -12, max: 12 }), fc.boolean())
    .map(([digits, power, isNegative]) => (isNegative ? -1 : 1) * digits * 10 ** power);
  fc.assert(
    fc.property(everySize, (value) => {
      const got = told(value) ?? NaN;
      expect(Math.abs(got - value)).toBeLessThanOrEqual(5.01e-6 * Math.abs(value));
      expect(Number(got.toPrecision(6))).toBe(got);
    }),
  );
  expect([0, 0.5, 0.1, 1e-3, 999_999.7, 1e6].map(told)).toEqual([0, 0.5, 0.1, 1e-3, 1e6, 1e6]);
});
