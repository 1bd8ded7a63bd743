import type { DeviceView, LiveEvent, PlanView, RequestView, StatusView } from '@fleetgate/shared/api/operations';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  activePlan,
  applyEvent,
  applyEvents,
  applyHistory,
  applySnapshot,
  emptyFleet,
  expertOf,
  type FleetState,
  HISTORY_MS,
  refusedPlan,
  type Snapshot,
} from '../../controller/dashboard/src/state/live.js';
import { DEVICES, deviceView, expertViews } from '../support/dashboard-fixture-fleet.js';
import { planFor, START_BUDGETS } from '../support/dashboard-fixture-plan.js';
import { endedRequest } from '../support/dashboard-fixture-requests.js';

const NOW = 1_700_000_000_000;

function aDevice(id: string, over: Partial<DeviceView> = {}): DeviceView {
  const [first] = DEVICES;
  if (first === undefined) throw new Error('the fixture has no device');
  return { ...deviceView({ ...first, id }, NOW, { powerW: 5 }), ...over };
}
const aPlan = (id: string, atMs: number, over: Partial<PlanView> = {}): PlanView => ({
  ...planFor(START_BUDGETS, id, atMs, 'requested'),
  ...over,
});
const aRequest = (id: string, atMs: number, over: Partial<RequestView> = {}): RequestView => ({
  ...endedRequest(id, atMs, 'Hi!', 'auto', 'p1'),
  ...over,
});
const STATUS: StatusView = {
  fleet: 'home',
  version: '0.1.0',
  ready: true,
  startedAtMs: NOW,
  broker: 'connected',
  gate: { state: 'ready', why: null, experts: 9, trainedOn: 10 },
  devices: { total: 2, online: 2 },
  activePlanId: 'p1',
  mqttUrl: 'mqtt://127.0.0.1:1883',
};
const snapshot = (over: Partial<Snapshot> = {}): Snapshot => ({
  status: STATUS,
  devices: [aDevice('b'), aDevice('a')],
  experts: expertViews(NOW),
  plans: [aPlan('p1', NOW)],
  budgets: START_BUDGETS,
  requests: [aRequest('r1', NOW - 10), aRequest('r2', NOW)],
  ...over,
});
const start = (over: Partial<Snapshot> = {}): FleetState => applySnapshot(emptyFleet, snapshot(over));
const telemetry = (deviceId: string, atMs: number, last: DeviceView['last']): LiveEvent => ({
  type: 'telemetry',
  deviceId,
  atMs,
  last,
});

describe('snapshot', () => {
  it('orders devices by id, requests and plans newest first', () => {
    const state = start({ plans: [aPlan('old', NOW - 5, { state: 'superseded' }), aPlan('new', NOW)] });
    expect([...state.devices.keys()]).toEqual(['a', 'b']);
    expect(state.requests.map((request) => request.id)).toEqual(['r2', 'r1']);
    expect(state.plans.map((plan) => plan.id)).toEqual(['new', 'old']);
  });

  it('replaces what was known, and keeps the power history of devices that are still there', () => {
    const before = applyEvents(start(), [
      telemetry('a', NOW + 1000, { powerW: 7 }),
      telemetry('b', NOW + 1000, { powerW: 3 }),
    ]);
    const after = applySnapshot(before, snapshot({ devices: [aDevice('a')], requests: [] }));
    expect([...after.devices.keys()]).toEqual(['a']);
    expect([...after.power.keys()]).toEqual(['a']);
    expect(after.requests).toEqual([]);
  });
});

describe('events', () => {
  it('telemetry changes only the metrics that it brings, and its own device', () => {
    const before = start();
    const after = applyEvent(before, telemetry('a', NOW + 1000, { temperatureC: 50 }));
    expect(after.devices.get('a')?.last).toEqual({ powerW: 5, temperatureC: 50 });
    expect(after.devices.get('a')?.lastSeenMs).toBe(NOW + 1000);
    expect(after.devices.get('b')).toBe(before.devices.get('b'));
  });

  it('late telemetry and that of unknown devices changes nothing', () => {
    const before = applyEvent(start(), telemetry('a', NOW + 5000, { powerW: 9 }));
    expect(applyEvent(before, telemetry('a', NOW + 4000, { powerW: 1 }))).toBe(before);
    expect(applyEvent(before, telemetry('ghost', NOW, { powerW: 1 }))).toBe(before);
  });

  it('a device joins, changes and leaves with its history', () => {
    let state = applyEvent(start(), { type: 'device', device: aDevice('c') });
    state = applyEvent(state, { type: 'device', device: aDevice('a', { state: 'offline' }) });
    state = applyEvent(state, telemetry('c', NOW + 1000, { powerW: 1 }));
    expect([...state.devices.keys()]).toEqual(['a', 'b', 'c']);
    expect(state.devices.get('a')?.state).toBe('offline');
    state = applyEvent(state, { type: 'device-removed', id: 'c' });
    expect(state.devices.has('c')).toBe(false);
    expect(state.power.has('c')).toBe(false);
  });

  it('one plan is active: the newest that took over', () => {
    const state = applyEvent(start(), { type: 'plan', plan: aPlan('p2', NOW + 10) });
    expect(activePlan(state)?.id).toBe('p2');
    expect(state.plans.map((plan) => plan.state)).toEqual(['active', 'superseded']);
  });

  it('a refused plan stands until a newer plan takes over, and leaves the active one', () => {
    const refused = planFor({ ...START_BUDGETS, fleetPowerW: 1 }, 'bad', NOW + 10, 'budget changed');
    const state = applyEvent(start(), { type: 'plan', plan: refused });
    expect(refusedPlan(state)?.id).toBe('bad');
    expect(activePlan(state)?.id).toBe('p1');
    expect(refusedPlan(applyEvent(state, { type: 'plan', plan: aPlan('p3', NOW + 20) }))).toBeNull();
  });

  it('a request keeps its place while it changes, and the list stays bounded', () => {
    let state = applyEvent(start(), { type: 'request', request: aRequest('r1', NOW - 10, { state: 'failed' }) });
    expect(state.requests.map((request) => [request.id, request.state])).toEqual([
      ['r2', 'succeeded'],
      ['r1', 'failed'],
    ]);
    const many = Array.from({ length: 700 }, (_, i): LiveEvent => ({
      type: 'request',
      request: aRequest(`x${i}`, NOW + i),
    }));
    state = applyEvents(state, many);
    expect(state.requests).toHaveLength(500);
    expect(state.requests[0]?.id).toBe('x699');
  });

  it('keeps the last notes of a device', () => {
    const note = (n: number): LiveEvent => ({
      type: 'device-event',
      deviceId: 'a',
      event: { v: 1, epoch: 1, atMs: NOW + n, level: 'warn', code: 'engine.restarted', message: String(n) } as never,
    });
    const state = applyEvents(start(), [1, 2, 3, 4, 5, 6, 7].map(note));
    expect(state.notes.get('a')?.map((each) => each.message)).toEqual(['7', '6', '5', '4', '3']);
  });

  it('an event type of a newer controller changes nothing', () => {
    const state = start();
    expect(applyEvent(state, { type: 'weather' } as never)).toBe(state);
  });

  it('power history is in order, bounded in time and never closer than a second', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4_000_000 }), { maxLength: 200 }), (offsets) => {
        const state = applyEvents(
          start(),
          offsets.map((ms) => telemetry('a', NOW + ms, { powerW: 1 })),
        );
        const times = (state.power.get('a') ?? []).map((sample) => sample.atMs);
        const last = times.at(-1) ?? 0;
        times.forEach((at, i) => {
          expect(at).toBeGreaterThanOrEqual(last - HISTORY_MS);
          if (i > 0) expect(at - (times[i - 1] ?? 0)).toBeGreaterThanOrEqual(900);
        });
      }),
    );
  });

  it('stored telemetry goes before the live samples', () => {
    const live = applyEvents(start(), [telemetry('a', NOW + 1000, { powerW: 7 })]);
    const point = (atMs: number, mean: number) => ({ atMs, mean, min: mean, max: mean, n: 1 });
    const state = applyHistory(live, {
      device: 'a',
      metric: 'powerW',
      stepMs: 60_000,
      points: [point(NOW + 2000, 9), point(NOW - 60_000, 4), point(NOW - 120_000, 3)],
    });
    expect(state.power.get('a')?.map((sample) => sample.powerW)).toEqual([3, 4, 7]);
  });
});

it('names the expert of a variant, also of one that the catalogue lacks', () => {
  expect(expertOf(start(), 'math-q8_0')).toBe('math');
  expect(expertOf(emptyFleet, 'qwen-big-q4_k_m')).toBe('qwen-big');
  expect(expertOf(emptyFleet, 'odd')).toBe('odd');
});
