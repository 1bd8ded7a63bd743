import { deviceId, expertId, planId, variantId } from '@fleetgate/shared/ids';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { expertLoads } from './expert-loads.js';
import type { Choice } from './request-events.js';

const job = (expert: string, device: string): { readonly choice: Choice } => ({
  choice: {
    expertId: expertId(expert),
    variantId: variantId(`${expert}-q8`),
    deviceId: deviceId(device),
    planId: planId('plan-1'),
  },
});

describe('the load of experts', () => {
  it('counts what was sent first as running, as many as the device works on at once', () => {
    const jobs = [job('math', 'pi'), job('code', 'pi'), job('math', 'jetson'), job('math', 'pi')];
    expect(expertLoads(jobs, (device) => (device === 'jetson' ? 2 : 1))).toEqual(
      new Map([
        ['math', { running: 2, waiting: 1 }],
        ['code', { running: 0, waiting: 1 }],
      ]),
    );
  });

  it('counts every job once, and no device works on more than it can', () => {
    const jobs = fc.array(fc.record({ expert: fc.constantFrom('a', 'b', 'c'), device: fc.constantFrom('x', 'y') }));
    fc.assert(
      fc.property(jobs, fc.integer({ min: 1, max: 4 }), (list, concurrency) => {
        const loads = [
          ...expertLoads(
            list.map(({ expert, device }) => job(expert, device)),
            () => concurrency,
          ).values(),
        ];
        expect(loads.reduce((sum, { running, waiting }) => sum + running + waiting, 0)).toBe(list.length);
        expect(loads.reduce((sum, { running }) => sum + running, 0)).toBeLessThanOrEqual(2 * concurrency);
      }),
    );
  });
});
