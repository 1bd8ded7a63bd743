import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { jobId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';

import { DeviceLoads } from './device-load.js';
import { aDevice } from './dispatch-fixtures.js';

const pi = (concurrency = 1) => aDevice('pi', ['math-q8_0'], { concurrency });
const add = (loads: DeviceLoads, job: string, predicted: number, at: number): void =>
  loads.add(pi().id, jobId(job), milliseconds(predicted), unixMs(at));
const end = (loads: DeviceLoads, job: string, at: number): void => loads.release(pi().id, jobId(job), unixMs(at));

describe('the time until a device can start another job', () => {
  it('is the whole queue on a device that runs one at a time: waiting jobs do not shrink', () => {
    const loads = new DeviceLoads();
    for (const job of ['a', 'b', 'c']) add(loads, job, 100, 0);
    expect(loads.loadOf(pi(), unixMs(0))).toEqual({ occupied: 3, freeIn: 300, foreign: 0 });
    expect(loads.loadOf(pi(), unixMs(80)).freeIn).toBe(220);
    end(loads, 'a', 150);
    expect(loads.loadOf(pi(), unixMs(150)).freeIn).toBe(200);
    expect(loads.loadOf(pi(), unixMs(170)).freeIn).toBe(180);
  });

  it('counts a job that overruns as ending now', () => {
    const loads = new DeviceLoads();
    add(loads, 'a', 100, 0);
    add(loads, 'b', 50, 0);
    expect(loads.loadOf(pi(), unixMs(400)).freeIn).toBe(50);
  });

  it('is shared by the jobs that run at once', () => {
    const loads = new DeviceLoads();
    for (const [job, predicted] of [
      ['a', 100],
      ['b', 300],
      ['c', 100],
    ] as const)
      add(loads, job, predicted, 0);
    expect(loads.loadOf(pi(2), unixMs(0)).freeIn).toBe(200);
    expect(loads.loadOf(pi(3), unixMs(0)).freeIn).toBe(100);
    expect(loads.loadOf(pi(4), unixMs(0)).freeIn).toBe(0);
  });

  it('is at most the work spread evenly, and nothing while a place is free', () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 10_000 }), { maxLength: 20 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 5 }), (all, concurrency) => {
        const loads = new DeviceLoads();
        all.forEach((predicted, at) => add(loads, `j${at}`, predicted, 0));
        const { freeIn } = loads.loadOf(pi(concurrency), unixMs(0));
        const total = all.reduce((sum, one) => sum + one, 0);
        expect(freeIn).toBeLessThanOrEqual(total / concurrency);
        expect(freeIn).toBeGreaterThanOrEqual(0);
        if (all.length < concurrency) expect(freeIn).toBe(0);
      }),
    );
  });
});

describe('a device that has left the fleet', () => {
  it('is forgotten with its last job, unless it is back', () => {
    const loads = new DeviceLoads();
    add(loads, 'a', 100, 0);
    add(loads, 'b', 100, 0);
    loads.forget(pi().id);
    end(loads, 'a', 10);
    expect(loads.devices).toBe(1);
    end(loads, 'b', 20);
    expect(loads.devices).toBe(0);
    add(loads, 'c', 100, 30);
    loads.forget(pi().id);
    add(loads, 'd', 100, 40);
    end(loads, 'c', 50);
    end(loads, 'd', 60);
    expect(loads.devices).toBe(1);
    loads.forget(pi().id);
    expect(loads.devices).toBe(0);
  });
});
