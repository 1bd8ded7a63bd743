import { classId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { Demand, PRIOR_RATE } from './demand.js';

const MATH = classId('math');
const rateAt = (demand: Demand, seconds: number): number => demand.rates([MATH], unixMs(1000 * seconds)).get(MATH) ?? 0;

describe('Demand', () => {
  it('knows of a rush within a minute or two, not after its half-life', () => {
    const demand = new Demand();
    for (let tenths = 0; tenths < 1200; tenths++) demand.record(MATH, unixMs(100 * tenths));
    expect(rateAt(demand, 60)).toBeGreaterThan(4);
    expect(rateAt(demand, 120)).toBeGreaterThan(6);
    expect(rateAt(demand, 120)).toBeLessThan(10);
  });

  it('comes to the true rate, and back to the least', () => {
    const demand = new Demand();
    for (let second = 0; second < 3600; second++) demand.record(MATH, unixMs(1000 * second));
    expect(rateAt(demand, 3600)).toBeCloseTo(1, 2);
    expect(rateAt(demand, 3600 * 5)).toBe(PRIOR_RATE);
  });
});
