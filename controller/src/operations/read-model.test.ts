import { describe, expect, it } from 'vitest';

import { aDevice } from '../dispatch/dispatch-fixtures.js';
import { statusView } from './read-model.js';

describe('readiness', () => {
  const facts = {
    fleet: 'home',
    version: '1',
    startedAtMs: 0,
    draining: false,
    brokerConnected: true,
    gate: { state: 'ready' as const, why: null, experts: 1, trainedOn: 1 },
    devices: [aDevice('a', [])],
    activePlanId: 'plan-1',
    mqttUrl: 'mqtt://127.0.0.1',
  };

  it('is not lost with a degraded gate: prompts are answered, and the status says how', () => {
    const gate = { ...facts.gate, state: 'degraded' as const, why: 'self-test failed' };
    expect(statusView({ ...facts, gate })).toMatchObject({ ready: true, gate });
  });

  it('waits for the first training, a plan, the broker and a device, and ends with the stop', () => {
    expect(statusView(facts).ready).toBe(true);
    expect(statusView({ ...facts, gate: { ...facts.gate, state: 'training' } }).ready).toBe(false);
    expect(statusView({ ...facts, activePlanId: null }).ready).toBe(false);
    expect(statusView({ ...facts, brokerConnected: false }).ready).toBe(false);
    expect(statusView({ ...facts, devices: [] }).ready).toBe(false);
    expect(statusView({ ...facts, draining: true }).ready).toBe(false);
  });
});
