import { deviceId, jobId } from '@fleetgate/shared/ids';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type HeldJob, HeldJobs } from './held-jobs.js';

const PI = deviceId('pi');
const job = (name: string, dueAt: number, tenant = '', predicted = 10): HeldJob => ({
  jobId: jobId(name),
  deviceId: PI,
  dueAt: unixMs(dueAt),
  tenant,
  predicted: milliseconds(predicted),
});

/** Takes out and counts whoever is next, until nobody waits. */
function order(held: HeldJobs, now = 0): readonly string[] {
  const names: string[] = [];
  for (let next = held.next(PI, unixMs(now)); next !== undefined; next = held.next(PI, unixMs(now))) {
    held.remove(next);
    held.count(next);
    names.push(next.jobId);
  }
  return names;
}

describe('HeldJobs', () => {
  it('takes the earliest deadline, equal ones as they came, and what is late already last', () => {
    const held = new HeldJobs();
    for (const one of [job('b', 300), job('late', 50), job('a', 200), job('c', 300)]) held.add(one);
    expect(order(held, 100)).toEqual(['a', 'b', 'c', 'late']);
    expect(held.size).toBe(0);
  });

  it('gives tenants equal time, however many jobs one of them has and however urgent they are', () => {
    const held = new HeldJobs();
    for (let n = 0; n < 6; n++) held.add(job(`flood-${n}`, n, 'flood', 10));
    for (let n = 0; n < 2; n++) held.add(job(`small-${n}`, 1000, 'small', 30));
    // Thirty of one, then thirty of the other.
    expect(order(held).map((name) => name.slice(0, 5))).toEqual([
      'flood',
      'small',
      'flood',
      'flood',
      'flood',
      'small',
      'flood',
      'flood',
    ]);
  });

  it('gives each of any jobs exactly once, and never one after a later one of the same tenant that is not late', () => {
    const jobs = fc.array(
      fc.record({
        due: fc.integer({ min: 0, max: 50 }),
        tenant: fc.constantFrom('a', 'b', 'c'),
        predicted: fc.integer({ min: 1, max: 20 }),
      }),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(jobs, fc.integer({ min: 0, max: 50 }), (some, now) => {
        const held = new HeldJobs();
        const all = some.map(({ due, tenant, predicted }, n) => job(`j${n}`, due, tenant, predicted));
        for (const one of all) held.add(one);
        const names = order(held, now);
        expect(names.toSorted()).toEqual(all.map(({ jobId: id }) => id).toSorted());
        for (const tenant of ['a', 'b', 'c']) {
          const own = names.flatMap((name) => all.filter((one) => one.jobId === name && one.tenant === tenant));
          const timely = own.filter(({ dueAt }) => dueAt >= now).map(({ dueAt }) => dueAt);
          expect(timely).toEqual(timely.toSorted((a, b) => a - b));
        }
      }),
    );
  });

  it('serves any number of tenants, however many names clients make up', () => {
    const held = new HeldJobs();
    for (let n = 0; n < 2000; n++) {
      held.add(job(`j${n}`, n, `tenant-${n}`));
      expect(order(held)).toEqual([`j${n}`]);
    }
    held.add(job('late', 5, 'tenant-1999'));
    held.add(job('new', 9, 'other'));
    expect(order(held)).toHaveLength(2);
  });

  it('tells the most urgent jobs of other devices', () => {
    const held = new HeldJobs();
    held.add(job('here', 1));
    held.add({ ...job('there', 20), deviceId: deviceId('jetson') });
    held.add({ ...job('sooner', 10), deviceId: deviceId('phone') });
    expect(held.elsewhere(PI, 1, unixMs(0)).map(({ jobId: id }) => id)).toEqual(['sooner']);
    expect(held.at(PI).map(({ jobId: id }) => id)).toEqual(['here']);
  });
});
