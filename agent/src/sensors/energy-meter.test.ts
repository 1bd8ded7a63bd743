import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '@fleetgate/shared/clock';

import { EnergyMeter } from './energy-meter.js';

const PROFILE = { idleW: 3, loadW: 11, standbyW: 2 };

function aMeter() {
  const clock = new ManualClock();
  return { clock, meter: new EnergyMeter(PROFILE, clock) };
}

describe('EnergyMeter', () => {
  it('models a job as load less idle over its time', () => {
    const { clock, meter } = aMeter();
    meter.start('a');
    clock.advance(500);
    expect(meter.stop('a')).toEqual({ energy: 4, source: 'modelled' });
  });

  it('shares time among the jobs that run', () => {
    const { clock, meter } = aMeter();
    meter.start('a');
    clock.advance(1000);
    meter.start('b');
    clock.advance(1000);
    expect(meter.stop('a').energy).toBe(8 + 4);
    clock.advance(1000);
    expect(meter.stop('b').energy).toBe(4 + 8);
  });

  it('integrates measured power above idle, and says so', () => {
    const { clock, meter } = aMeter();
    meter.sample({ powerW: 3, powerFrom: 'rail' });
    meter.start('a');
    clock.advance(250);
    meter.sample({ powerW: 7, powerFrom: 'rail' });
    clock.advance(250);
    meter.sample({ powerW: 9, powerFrom: 'rail' });
    expect(meter.stop('a')).toEqual({ energy: 1 + 1.5, source: 'measured' });
    expect(meter.origin).toEqual({ source: 'measured', from: 'rail' });
  });

  it('is modelled again when the sensor has been silent', () => {
    const { clock, meter } = aMeter();
    meter.sample({ powerW: 7, powerFrom: 'rail' });
    clock.advance(5001);
    expect(meter.origin.source).toBe('modelled');
    expect(meter.power()).toEqual({ powerW: 3, source: 'modelled', from: 'board profile' });
  });

  it('models power by the busy share, and standby power only in standby', () => {
    const { clock, meter } = aMeter();
    meter.start('a');
    clock.advance(500);
    meter.stop('a');
    clock.advance(500);
    expect(meter.power().powerW).toBe(7);
    clock.advance(1000);
    expect(meter.power().powerW).toBe(3);
    meter.setStandby('standby');
    clock.advance(1000);
    expect(meter.power().powerW).toBe(2);
  });

  it('gives all jobs together the energy of the busy time, however they overlap', () => {
    const events = fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 900 })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(events, (steps) => {
        const { clock, meter } = aMeter();
        const running = new Set<number>();
        let total = 0;
        let busyMs = 0;
        for (const [job, wait] of steps) {
          if (running.delete(job)) total += meter.stop(`${job}`).energy;
          else {
            running.add(job);
            meter.start(`${job}`);
          }
          if (running.size > 0) busyMs += wait;
          clock.advance(wait);
        }
        for (const job of running) total += meter.stop(`${job}`).energy;
        expect(total).toBeCloseTo((8 * busyMs) / 1000, 6);
      }),
    );
  });
});
