import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { DEFAULT_BUDGETS } from './budgets.js';
import type { Circumstances } from './circumstances.js';
import { DRIFT_PERIOD, LOSS_GRACE, MEASURE_PATIENCE, ReplanWatch, START_GRACE } from './replan-watch.js';
import { replanTrigger } from './replan-trigger.js';

const device = { memoryBytes: 1e9, slots: 2, idleW: 3, standbyW: 2, measured: 3 };
const base: Circumstances = {
  devices: { pi: device, phone: device },
  variants: ['math@1'],
  gate: '100',
  budgets: DEFAULT_BUDGETS,
  demand: { math: 0.1, code: 0.1 },
  answers: { math: 1, code: 0.8 },
  costs: { 'pi/math': 500, 'phone/math': 900 },
};
const placed = new Set(['pi/math']);
const due = (watch: ReplanWatch, atS: number, circumstances: Circumstances = base, awaited = 0) =>
  watch.due({ now: unixMs(atS * 1000), circumstances, placed, awaited })?.kind;

describe('replanTrigger', () => {
  it.each<[string, Partial<Circumstances>]>([
    ['device-lost', { devices: { pi: device } }],
    ['device-joined', { devices: { ...base.devices, jetson: device } }],
    ['budget-changed', { budgets: { ...DEFAULT_BUDGETS, fleetPowerW: 9 } }],
    ['catalogue-changed', { variants: ['math@2'] }],
    ['gate-changed', { gate: '101' }],
    ['device-changed', { devices: { ...base.devices, pi: { ...device, slots: 1 } } }],
    ['device-changed', { devices: { ...base.devices, pi: { ...device, measured: 4 } } }],
    ['cost-drift', { costs: { 'pi/math': 800, 'phone/math': 900 } }],
    ['demand-drift', { demand: { math: 0.4, code: 0.1 } }],
    ['demand-drift', { answers: { math: 0.4, code: 0.8 } }],
  ])('%s', (kind, change) => {
    expect(replanTrigger(base, { ...base, ...change }, placed)?.kind).toBe(kind);
  });

  it('is silent about noise, what is not placed, and the order of keys', () => {
    const { classes, ...rest } = DEFAULT_BUDGETS;
    const now: Circumstances = {
      ...base,
      devices: { phone: device, pi: { ...device, memoryBytes: 0.95e9, measured: 2 } },
      budgets: { classes, ...rest },
      demand: { math: 0.12, code: 0.09 },
      answers: { math: 0.7, code: 0.9, story: 3 },
      costs: { 'pi/math': 600, 'phone/math': 9000 },
    };
    expect(replanTrigger(base, now, placed)).toBeUndefined();
  });
});

describe('ReplanWatch', () => {
  it('waits a moment for more to change, then plans once', () => {
    const watch = new ReplanWatch(unixMs(0), undefined);
    expect(due(watch, 0)).toBeUndefined();
    expect(due(watch, 2)).toBeUndefined();
    expect(due(watch, 3)).toBe('first-plan');
    watch.considered(base, unixMs(3000));
    expect(due(watch, 100)).toBeUndefined();
  });

  it('acts on a changed budget at once', () => {
    const watch = new ReplanWatch(unixMs(0), base);
    expect(due(watch, 1, { ...base, budgets: { ...DEFAULT_BUDGETS, fleetPowerW: 9 } })).toBe('budget-changed');
  });

  it('waits for measurements while they move on', () => {
    const watch = new ReplanWatch(unixMs(0), undefined);
    const patience = MEASURE_PATIENCE / 1000;
    expect(due(watch, 0, base, 2)).toBeUndefined();
    expect(due(watch, patience - 1, base, 2)).toBeUndefined();
    expect(due(watch, patience, base, 1)).toBeUndefined();
    expect(due(watch, 2 * patience - 1, base, 1)).toBeUndefined();
    expect(due(watch, 2 * patience, base, 1)).toBe('first-plan');
  });

  it('does not wait for measurements when a device is lost', () => {
    const watch = new ReplanWatch(unixMs(0), undefined);
    watch.considered(base, unixMs(0));
    const start = START_GRACE / 1000;
    const without: Circumstances = { ...base, devices: { pi: device } };
    expect(due(watch, start, without, 5)).toBeUndefined();
    expect(due(watch, start + LOSS_GRACE / 1000, without, 5)).toBeUndefined();
    expect(due(watch, start + LOSS_GRACE / 1000 + 3, without, 5)).toBe('device-lost');
  });

  it.each<[string, Partial<Circumstances>]>([
    ['device-joined', { devices: { pi: device, jetson: device } }],
    ['gate-changed', { gate: '101', devices: { pi: device } }],
    ['cost-drift', { costs: { 'pi/math': 800 }, devices: { pi: device } }],
  ])('lets %s wait for a device that is away for a moment: a plan would leave it out', (kind, change) => {
    const watch = new ReplanWatch(unixMs(0), undefined);
    watch.considered(base, unixMs(0));
    const start = Math.max(START_GRACE, DRIFT_PERIOD) / 1000;
    const away: Circumstances = { ...base, ...change };
    expect(due(watch, start, away)).toBeUndefined();
    expect(due(watch, start + 4, away)).toBeUndefined();
    expect(due(watch, start + 5, { ...away, devices: { ...base.devices, ...away.devices } })).toBe(kind);
  });

  it('waits for nobody longer than a moment, though somebody is always away', () => {
    const watch = new ReplanWatch(unixMs(0), undefined);
    watch.considered(base, unixMs(0));
    const start = START_GRACE / 1000;
    const jetson = { jetson: device };
    for (let second = 0; second < LOSS_GRACE / 1000; second++) {
      const there = second % 2 === 0 ? { pi: device } : { phone: device };
      expect(due(watch, start + second, { ...base, devices: { ...jetson, ...there } })).toBeUndefined();
    }
    const at = start + LOSS_GRACE / 1000;
    expect(due(watch, at, { ...base, devices: { ...jetson, pi: device } })).toBe('device-joined');
  });

  it('acts on a changed budget also while a device is away', () => {
    const watch = new ReplanWatch(unixMs(0), undefined);
    watch.considered(base, unixMs(0));
    const tighter = { ...base, devices: { pi: device }, budgets: { ...DEFAULT_BUDGETS, fleetPowerW: 9 } };
    expect(due(watch, START_GRACE / 1000, tighter)).toBe('budget-changed');
  });

  it('gives a fleet that is coming back after a start more time', () => {
    const watch = new ReplanWatch(unixMs(0), base);
    const none: Circumstances = { ...base, devices: {}, costs: {}, demand: {} };
    expect(due(watch, 1, none)).toBeUndefined();
    expect(due(watch, START_GRACE / 1000 - 1, none)).toBeUndefined();
    expect(due(watch, START_GRACE / 1000 + 1, none)).toBeUndefined();
    expect(due(watch, START_GRACE / 1000 + 5, none)).toBe('device-lost');
  });

  it('looks into drift once a minute, from a fresh baseline after a start', () => {
    const watch = new ReplanWatch(unixMs(0), { ...base, demand: { math: 5 } });
    expect(due(watch, 4)).toBeUndefined();
    expect(due(watch, START_GRACE / 1000 + 1)).toBeUndefined();
    const busier: Circumstances = { ...base, demand: { math: 1, code: 0.1 } };
    expect(due(watch, 70, busier)).toBeUndefined();
    expect(due(watch, 74, busier)).toBe('demand-drift');
    watch.considered(busier, unixMs(74_000));
    expect(due(watch, 80)).toBeUndefined();
    expect(due(watch, 74 + DRIFT_PERIOD / 1000)).toBe('demand-drift');
  });
});
