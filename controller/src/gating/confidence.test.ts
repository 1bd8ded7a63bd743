import { expertId } from '@fleetgate/shared/ids';
import { describe, expect, it } from 'vitest';

import { ConfidenceModel } from './confidence.js';
import { decodeGateModel, encodeGateModel } from './gate-model.js';
import { gateOf } from './linear-gate.js';
import { syntheticOutcomes } from './outcomes.fixture.js';
import { trainGate } from './train-gate.js';

const math = expertId('math');

describe('confidence of answers', () => {
  it('is learned with the gate from outcomes that tell it, and kept in its file', () => {
    const outcomes = syntheticOutcomes(240).map((outcome, at) => {
      const wobble = ((at * 7) % 11) / 11 - 0.5;
      const y = { ...outcome.y, math: Math.min(1, Math.max(0, (outcome.y['math'] ?? 0) + 0.2 * wobble)) };
      return { ...outcome, y, conf: { math: -1 + wobble, code: null } };
    });
    const gate = gateOf(decodeGateModel(encodeGateModel(trainGate(outcomes)), 'a test'));
    expect(gate.confidence?.(math)?.mean).toBeCloseTo(-1, 1);
    expect(gate.confidence?.(math)?.slope).toBeGreaterThan(0.1);
    expect(gate.confidence?.(math)?.slope).toBeLessThan(0.25);
    expect(gate.confidence?.(expertId('code'))).toBeUndefined();
    expect(gateOf(trainGate(syntheticOutcomes(240))).confidence?.(math)).toBeUndefined();
  });

  it('follows the answers of an expert that validation tells nothing of, and keeps to what it tells', () => {
    const model = new ConfidenceModel((expert) => (expert === math ? { mean: -2, sd: 0.1, slope: 0.3 } : undefined));
    for (let at = 0; at < 400; at++) {
      model.observe(math, -0.5);
      model.observe(expertId('new'), -0.6 + (at % 2 === 0 ? 0.1 : -0.1));
    }
    expect(model.of(math)).toEqual({ mean: -2, sd: 0.1, slope: 0.3 });
    expect(model.of(expertId('new')).mean).toBeCloseTo(-0.62, 1);
    expect(model.of(expertId('new')).sd).toBeLessThan(0.2);
  });
});
