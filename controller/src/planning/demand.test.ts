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

  it('counts what other controllers have seen as if it had come here', () => {
    const [all, one, two] = [new Demand(), new Demand(), new Demand()];
    for (let at = 0; at < 600_000; at += 1000) {
      all.record(classId('math'), unixMs(at));
      (at % 3000 === 0 ? one : two).record(classId('math'), unixMs(at));
    }
    const now = unixMs(600_000);
    const rate = (demand: Demand) => demand.rates([classId('math')], now).get(classId('math')) ?? 0;
    expect(rate(one)).toBeLessThan(rate(all) / 2);
    one.setOthers([two.seen(now)]);
    expect(rate(one)).toBeCloseTo(rate(all), 6);
    const fresh = new Demand();
    fresh.setOthers([all.seen(now)]);
    expect(rate(fresh)).toBeCloseTo(rate(all), 6);
  });
});
