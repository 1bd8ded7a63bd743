import type { RequestView } from '@fleetgate/shared/api/operations';
import { classId, deviceId, expertId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { aCatalogue, aCost, aDevice, anExpert, aPolicy, aPrompt, FixtureCosts } from '../dispatch/dispatch-fixtures.js';
import { newRequestId, openRecord } from '../dispatch/request-record.js';
import { gateOf } from '../gating/linear-gate.js';
import { LiveGate } from '../gating/live-gate.js';
import { syntheticOutcomes } from '../gating/outcomes.fixture.js';
import { trainGate } from '../gating/train-gate.js';
import { withUnknownExperts } from '../gating/unknown-expert.js';
import { WorkloadModel } from '../telemetry/workload-model.js';
import { SeededRandom } from '@fleetgate/shared/random';
import { expertCosts } from './expert-cost.js';
import { type GateFacts, gateView } from './gate-view.js';

const live = new LiveGate();
live.replace(gateOf(trainGate(syntheticOutcomes(90))));
const gate = withUnknownExperts(live, () => [{ id: expertId('new'), domains: ['math'], bitsPerByte: {} }]);
const random = new SeededRandom(1);

function aRequest(of: string, expert: string, more: Partial<RequestView> = {}): RequestView {
  const at = unixMs(1_700_000_000_000);
  const record = openRecord(newRequestId(at, random), aPrompt(), 'auto', at, false);
  return { ...record, state: 'succeeded', classId: of, expertId: expert, novelty: 0.1, ...more };
}

const facts: GateFacts = { live, gate, requests: [], costOf: () => null };

describe('the gate as the operations API shows it', () => {
  it('holds the quality of every expert on every class, and how special each is', () => {
    const view = gateView(facts);
    expect(view).toMatchObject({ state: 'ready', why: null, trainedOn: 90 });
    expect(view.classes.map(({ id, label }) => [id, label])).toEqual([
      ['code', 'code'],
      ['math', 'math'],
      ['story', 'story'],
      ['other', 'other'],
    ]);
    const math = view.classes.find(({ id }) => id === 'math');
    expect(math?.trainedShare).toBeCloseTo(1 / 3, 9);
    expect(math?.experts[0]).toMatchObject({ id: 'math', energyJ: null, chosen: 0 });
    expect(math?.experts[0]?.gain).toBeGreaterThan(0.15);
    expect(view.experts.find(({ id }) => id === 'math')).toMatchObject({ isTrained: true, home: 'math' });
    expect(view.experts.find(({ id }) => id === 'generalist')?.dsi).toBeLessThan(0.1);
    expect(view.experts.find(({ id }) => id === 'new')).toMatchObject({ isTrained: false });
    expect(view.traffic).toMatchObject({ requests: 0, sinceMs: null, psi: null, novel: null, abstained: 0 });
  });

  it('sets the newest requests beside the training, counting what several experts answered once', () => {
    const requests = [
      ...Array.from({ length: 98 }, () => aRequest('math', 'math')),
      aRequest('other', 'generalist', { novelty: 0.9, abstained: 'prompt is unlike the training data (novelty 0.90)' }),
      aRequest('math', 'generalist', { state: 'failed' }),
      aRequest('code', 'code', { callOf: 'req-1' }),
      aRequest('code', 'code', { classId: null }),
    ];
    const { traffic, classes } = gateView({ ...facts, requests });
    expect(traffic).toMatchObject({ requests: 100, verdict: 'different', novel: 0.01, abstained: 1 });
    expect(classes.map(({ liveShare }) => liveShare)).toEqual([0, 0.99, 0, 0.01]);
    const chosen = classes.find(({ id }) => id === 'math')?.experts.map(({ id, chosen: times }) => [id, times]);
    expect(Object.fromEntries(chosen ?? [])).toMatchObject({ math: 98, generalist: 0 });
  });

  it('tells a degraded gate and why, with one class', () => {
    const degraded = new LiveGate();
    degraded.degrade('self-test failed', live);
    const view = gateView({ ...facts, live: degraded, gate: degraded });
    expect(view).toMatchObject({ state: 'degraded', why: 'self-test failed', trainedOn: 0 });
    expect(view.classes).toMatchObject([{ id: 'general', trainedShare: null }]);
    expect(view.experts[0]).toMatchObject({ home: null, dsi: null });
    expect(gateView({ ...facts, gate: undefined })).toMatchObject({ experts: [], classes: [] });
  });
});

describe('what an expert costs', () => {
  const devices = [aDevice('a', ['math-q8_0']), aDevice('b', ['math-q8_0'])];
  const costs = new FixtureCosts({ a: aCost(100, 3), b: aCost(200, 2) });
  const cost = { policy: aPolicy(devices), catalogue: aCatalogue([anExpert('math'), anExpert('code')]), costs };
  const workloads = new WorkloadModel();

  it('is that of the device where it takes least energy', () => {
    expect(expertCosts({ ...cost, workloads })(expertId('math'), classId('math'), 40)).toEqual({
      energyJ: 2,
      latencyMs: 200,
    });
  });

  it('is not known for an expert that the plan serves nowhere, or without a plan', () => {
    expect(expertCosts({ ...cost, workloads })(expertId('code'), classId('math'), 40)).toBeNull();
    expect(expertCosts({ ...cost, policy: undefined, workloads })(expertId('math'), classId('math'), 40)).toBeNull();
    expect(cost.policy.placements.has(deviceId('a'))).toBe(true);
  });
});
