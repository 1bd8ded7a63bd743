import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { forecastOffload, missCurve } from './offload-advice.js';

const SHAPE = { slabsPerLayer: 4, slabBytes: [100, 100] };
const SHARES = [0.25, 0.5, 0.75, 1];
const traces = fc.array(
  fc.tuple(fc.nat(3), fc.nat(3)).map((pair) => pair.map((slab) => Int32Array.of(slab))),
  { minLength: 4, maxLength: 80 },
);

describe('missCurve', () => {
  it('reads nothing when all is in memory, and never less than the best policy', () => {
    fc.assert(
      fc.property(traces, (trace) => {
        const curve = missCurve(trace, SHAPE, SHARES);
        for (const { bytesPerToken, bestBytesPerToken, hitRate } of curve) {
          expect(bytesPerToken).toBeGreaterThanOrEqual(0);
          expect(hitRate).toBeCloseTo(1 - bytesPerToken / 200, 9);
          expect(bestBytesPerToken).toBeLessThanOrEqual(200);
        }
        expect(curve.at(-1)).toMatchObject({ hitRate: 1, bytesPerToken: 0, bestBytesPerToken: 0 });
      }),
    );
  });
});

describe('forecastOffload', () => {
  const curve = [
    { residentShare: 0.5, hitRate: 0.8, bytesPerToken: 20e6, bestBytesPerToken: 10e6 },
    { residentShare: 1, hitRate: 1, bytesPerToken: 0, bestBytesPerToken: 0 },
  ];
  const device = { budgetBytes: 750e6, bytesPerSecond: 100e6, computeMs: 50 };

  it('adds what storage takes to what computation takes, between the points of the curve', () => {
    const { tokensPerSecond = 0, ...rest } = forecastOffload(curve, 1000e6, device) ?? {};
    expect(rest).toEqual({ hitRate: 0.9, bytesPerToken: 10e6, floorMs: 100, msPerToken: 150, speedShare: 1 / 3 });
    expect(tokensPerSecond).toBeCloseTo(6.667, 3);
  });

  it('takes the nearest point where the curve ends, and knows nothing without one', () => {
    expect(forecastOffload(curve, 1000e6, { ...device, budgetBytes: 100e6 })?.bytesPerToken).toBe(20e6);
    expect(forecastOffload(curve, 1000e6, { ...device, budgetBytes: 2000e6 })?.floorMs).toBe(0);
    expect(forecastOffload([], 1, device)).toBeUndefined();
  });
});
