/** Accounts of usage budgets over the end of a controller: real files, a clock by hand. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Budgets, UsageBudget } from '@fleetgate/shared/api/operations';
import { ManualClock } from '@fleetgate/shared/clock';
import { deviceId, jobId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import type { JobUsage } from '@fleetgate/shared/protocol/job';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { ControllerConfig } from './config/config.js';
import type { BudgetControl } from './dispatch/control/budget-control.js';
import { aCost, FixtureFleet } from './dispatch/dispatch-fixtures.js';
import { openControl } from './open-control.js';
import { Closers } from './platform/closers.js';

const HOURLY: UsageBudget = { id: 'all', per: 'hour', energyJ: 100, calls: 50 };
const TENANTS: UsageBudget = { id: 'theirs', per: 'day', tenant: 'them', energyJ: 1000 };

describe('the accounts of usage budgets', () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'fleetgate-usage-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  /** What was opened before is neither closed nor goes on: it was killed. */
  async function open(startMs = 1_700_000_000_000) {
    const clock = new ManualClock(startMs);
    const closers = new Closers(milliseconds(1000), clock, silentLogger);
    const config = { dataDir } as ControllerConfig;
    const surroundings = { clock, closers, config, log: silentLogger, random: new SeededRandom(1), count: () => {} };
    const budgets = { usage: [HOURLY, TENANTS] } as unknown as Budgets;
    const control = await openControl(surroundings, {
      fleet: new FixtureFleet([]),
      planner: { budgets: () => budgets },
      policy: () => undefined,
    });
    return { clock, closers, control };
  }

  const book = (control: BudgetControl, job: string, tenant: string): void =>
    control.book(jobId(job), { classId: undefined, tenant, deviceId: deviceId('pi'), cost: aCost(1000, 5) });
  const usage = { energyJ: 7, prefillMs: 100, decodeMs: 300 } as JobUsage;
  const usedOf = (control: BudgetControl) =>
    control.burnDown().usage.map(({ id, used: { energyJ, busyMs, calls } }) => [id, energyJ, busyMs, calls]);
  const save = async (clock: ManualClock): Promise<void> => {
    clock.advance(10_000);
    await vi.waitFor(() => expect(statSync(join(dataDir, 'usage.journal')).size).toBe(0));
  };

  it('are as they were when the controller was killed, predictions of what was under way included', async () => {
    const first = await open();
    book(first.control, 'j1', 'them');
    first.control.settle(jobId('j1'), usage);
    book(first.control, 'j2', 'others');
    const expected = [
      ['all', 12, 1400, 2],
      ['theirs', 7, 400, 1],
    ];
    expect(usedOf(first.control)).toEqual(expected);
    for (let times = 0; times < 3; times++) expect(usedOf((await open()).control)).toEqual(expected);
  });

  it('count what was used before, while and after they were saved once each', async () => {
    const first = await open();
    book(first.control, 'j1', 'them');
    await save(first.clock);
    book(first.control, 'j2', 'them');
    await save(first.clock);
    book(first.control, 'j3', 'them');
    const second = await open();
    expect(usedOf(second.control)).toEqual([
      ['all', 15, 3000, 3],
      ['theirs', 15, 3000, 3],
    ]);
    await save(second.clock);
    expect(usedOf((await open()).control)).toEqual(usedOf(second.control));
  });

  it('outlive a torn last line, and a line that is no account', async () => {
    const first = await open();
    book(first.control, 'j1', 'them');
    appendFileSync(join(dataDir, 'usage.journal'), '\n{"id":3}\n[]\n{"id":"all","ener');
    expect(usedOf((await open()).control)).toEqual([
      ['all', 5, 1000, 1],
      ['theirs', 5, 1000, 1],
    ]);
  });

  it('begin anew with a new window, and where their file is damaged', async () => {
    const first = await open();
    book(first.control, 'j1', 'them');
    expect(usedOf((await open(first.clock.now() + 3_600_000)).control)).toEqual([
      ['all', 0, 0, 0],
      ['theirs', 5, 1000, 1],
    ]);
    await save(first.clock);
    writeFileSync(join(dataDir, 'usage.json'), '{"all":1}');
    expect(usedOf((await open()).control)[1]).toEqual(['theirs', 0, 0, 0]);
  });

  it('lose nothing that is used while they are being saved', async () => {
    const first = await open();
    book(first.control, 'j1', 'them');
    first.clock.advance(10_000);
    await new Promise((resolve) => process.nextTick(resolve));
    book(first.control, 'j2', 'them');
    await vi.waitFor(() => expect(existsSync(join(dataDir, 'usage.json'))).toBe(true));
    await vi.waitFor(() => expect(existsSync(join(dataDir, 'usage.json.tmp'))).toBe(false));
    expect(usedOf((await open()).control)[1]).toEqual(['theirs', 10, 2000, 2]);
  });

  it('leave an empty journal, and their file, where the controller is stopped', async () => {
    const { closers, control } = await open();
    book(control, 'j1', 'them');
    await closers.close();
    expect(statSync(join(dataDir, 'usage.journal')).size).toBe(0);
    expect(JSON.parse(readFileSync(join(dataDir, 'usage.json'), 'utf8'))).toMatchObject([
      { id: 'all', energyJ: 5, calls: 1 },
      { id: 'theirs', energyJ: 5, calls: 1 },
    ]);
  });
});
