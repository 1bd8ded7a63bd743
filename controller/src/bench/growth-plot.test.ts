import { describe, expect, it } from 'vitest';

import { type GrowthPoint, growthPlot } from './growth-plot.js';

const points: readonly GrowthPoint[] = [10, 100, 1000, 10_000, 100_000].flatMap((devices) => [
  { fleet: 'pools', devices, seconds: 0.5 + devices / 1e5, peakBytes: 120 * 2 ** 20, isTimedOut: false },
  {
    fleet: 'single',
    devices,
    seconds: 0.6 + devices / 1e4,
    peakBytes: (120 + devices / 100) * 2 ** 20,
    isTimedOut: devices === 1000,
  },
]);

describe('growthPlot', () => {
  it('draws each point within the picture, without scripts', () => {
    const svg = growthPlot(points);
    expect(svg).not.toMatch(/script|NaN|Infinity|undefined/);
    const circles = [...svg.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)];
    expect(circles).toHaveLength(20);
    for (const [, x, y] of circles) {
      expect(Number(x)).toBeGreaterThanOrEqual(56);
      expect(Number(x)).toBeLessThanOrEqual(640);
      expect(Number(y)).toBeGreaterThanOrEqual(34);
      expect(Number(y)).toBeLessThanOrEqual(240);
    }
    expect(svg).toContain('<title>100,000 devices: 10.6</title>');
    expect(svg.match(/fill="#ffffff"/g)).toHaveLength(2);
    expect(svg).toContain('>100,000</text>');
  });

  it('stands a single point, and a time of nothing', () => {
    const svg = growthPlot([{ fleet: 'pools', devices: 10, seconds: 0, peakBytes: 1, isTimedOut: true }]);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});
