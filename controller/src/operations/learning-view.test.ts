import { classId, expertId } from '@fleetgate/shared/ids';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { describe, expect, it } from 'vitest';

import { balanced } from '../dispatch/balance.js';
import { observations } from '../gating/evidence.fixture.js';
import type { Gate } from '../gating/gate.js';
import { emptyAdaptation, learningCycle } from '../gating/learning-cycle.js';
import { Metrics } from '../platform/metrics.js';
import { learningFigures, type LearningParts, learningView } from './learning-view.js';

const [law, code] = [classId('law'), classId('code')];
const expert = expertId('law');
const gate: Gate = {
  experts: [expert],
  classes: [law, code],
  trainedOn: 1,
  score: () => ({ classId: law, promptTokens: 1, experts: new Map() }),
  classQuality: () => ({ quality: 0.3, sd: 0.08, outputTokens: 9 }),
};

function parts(): LearningParts {
  const evidence = observations(60, 0.5, { from: 0, predicted: 0.3 });
  const { adaptation, events } = learningCycle(evidence, emptyAdaptation('gate-a'), 'gate-a', unixMs(100));
  const half = new Map([
    [
      law,
      new Map([
        [expert, 0.5],
        [expertId('other'), 0.5],
      ]),
    ],
  ]);
  const account = { requests: 100, earned: 40, explored: 2, charged: 0.4 };
  let balance = new Map() as LearningParts['steering']['balance'];
  for (let request = 0; request < 30; request++) balance = balanced(balance, law, expert, half);
  return {
    learning: {
      adaptation,
      counts: () => ({ reference: 60, feedback: 0, agreement: 0, logprob: 0 }),
      evidence,
      events,
    },
    steering: { account, balance },
    trials: { views: () => [{ expert, state: 'serving', done: 24, of: 24, energyJ: 8, reason: undefined }] },
    trainedGate: () => gate,
  };
}

describe('what was learned', () => {
  const view = learningView(parts(), unixMs(200));

  it('is shown with the error on what was held back, with the corrections and without', () => {
    expect(view.version).toBe(1);
    expect(view.heldBack.observations).toBeGreaterThan(3);
    expect(view.heldBack.errorWith).toBeLessThan(view.heldBack.errorWithout ?? 0);
    expect(view.events[0]).toMatchObject({ kind: 'gate.updated', expertId: 'law', atMs: 100 });
  });

  it('is shown by expert and class, as trained and as corrected', () => {
    const [own] = view.experts;
    expect(own).toMatchObject({ expertId: 'law', observations: { reference: 60 }, rejections: 0 });
    expect(own?.classes.map(({ classId: id, trained }) => [id, trained])).toEqual([
      ['law', 0.3],
      ['code', 0.3],
    ]);
    expect(own?.classes[0]?.corrected).toBeCloseTo(0.5, 1);
  });

  it('is shown with what exploring cost, biases and trials', () => {
    expect(view.exploration).toEqual({ requests: 100, explored: 2, spent: 0.01, most: 0.02 });
    expect(view.biases.map(({ bias }) => Math.sign(bias))).toEqual([-1, 1]);
    expect(view.trials).toEqual([{ expertId: 'law', state: 'serving', done: 24, of: 24, energyJ: 8, reason: null }]);
  });

  it('is told to Prometheus', async () => {
    const metrics = new Metrics(() => ({
      devices: [],
      brokerConnected: true,
      liveFeedClients: 0,
      planObjective: undefined,
      gateDegraded: false,
      learning: learningFigures(view),
      dispatch: undefined,
      loads: new Map(),
    }));
    const text = await metrics.render();
    for (const line of [
      'fleetgate_gate_adaptation_version 1',
      'fleetgate_gate_evidence{source="reference"} 60',
      'fleetgate_gate_exploration_spent_ratio 0.01',
      'fleetgate_experts{state="serving"} 1',
    ]) {
      expect(text).toContain(line);
    }
    expect(text).toMatch(/fleetgate_gate_held_back_error\{gate="corrected"\} 0\.\d+/);
  });
});
