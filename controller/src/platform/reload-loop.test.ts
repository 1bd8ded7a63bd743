import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ReloadLoop } from './reload-loop.js';
import { ANYTHING } from './shared-changes.js';

let clock: ManualClock;
let loop: ReloadLoop;
let read: string[];
let fails: boolean;
beforeEach(() => {
  clock = new ManualClock();
  loop = new ReloadLoop(clock, silentLogger);
  read = [];
  fails = false;
  loop.add(['plan', 'budget'], async () => {
    read.push('plans');
    await Promise.resolve();
    if (fails) throw new Error('the database has gone');
  });
  loop.add(['access_key'], () => {
    read.push('keys');
    return Promise.resolve();
  });
});
afterEach(() => loop.close());

const pass = async (ms: number): Promise<void> => {
  clock.advance(ms);
  await new Promise((resolve) => setImmediate(resolve));
};

describe('ReloadLoop', () => {
  it('reads what has changed, once for changes that come together', async () => {
    for (const table of ['plan', 'budget', 'plan', 'audit']) loop.changed(table);
    await pass(20);
    expect(read).toEqual(['plans']);
    loop.changed(ANYTHING);
    await pass(20);
    expect(read).toEqual(['plans', 'plans', 'keys']);
    await pass(10_000);
    expect(read).toHaveLength(3);
  });

  it('reads again what could not be read', async () => {
    fails = true;
    loop.changed(ANYTHING);
    await pass(20);
    expect(read).toEqual(['plans']);
    fails = false;
    await pass(1000);
    expect(read).toEqual(['plans', 'plans', 'keys']);
  });

  it('reads everything for who is to lead, and says where it could not', async () => {
    await loop.everything();
    expect(read).toEqual(['plans', 'keys']);
    fails = true;
    await expect(loop.everything()).rejects.toThrow(/gone/);
  });

  it('reads nothing more once it is closed', async () => {
    loop.changed('plan');
    await loop.close();
    await pass(1000);
    expect(read).toEqual([]);
  });
});
