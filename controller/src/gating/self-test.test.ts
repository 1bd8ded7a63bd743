import { describe, expect, test } from 'vitest';

import { decodeGateModel, encodeGateModel, type GateModel } from './gate-model.js';
import { syntheticOutcomes } from './outcomes.fixture.js';
import { selfTest } from './self-test.js';
import { trainGate } from './train-gate.js';

const model = trainGate(syntheticOutcomes(60));
const read = (of: GateModel) => decodeGateModel(encodeGateModel(of), 'gate.json');

describe('the self-test of a gate', () => {
  test('passes where it was trained and where its file was read', () => {
    expect(selfTest(model)).toBeUndefined();
    expect(selfTest(read(model))).toBeUndefined();
  });

  test('holds fixed prompts only, none of the outcomes', () => {
    expect(trainGate(syntheticOutcomes(60, 2)).probes.map(({ prompt }) => prompt)).toEqual(
      model.probes.map(({ prompt }) => prompt),
    );
  });

  test.each<[string, Partial<GateModel>]>([
    ['directions', { directions: model.directions.map((value) => -value) }],
    ['rarity of grams', { idf: model.idf.map((value, at) => (at % 2 === 0 ? value : 2 * value)) }],
    ['another order of grams', { grams: model.grams.toReversed() }],
    ['weights of experts', { qualityWeights: model.qualityWeights.map((value) => value + 0.1) }],
    ['means of experts', { experts: model.experts.map((one) => ({ ...one, mean: one.mean / 2 })) }],
    ['lengths', { lengthWeights: model.lengthWeights.map((value) => value + 1) }],
    ['novelty', { familiarity: model.familiarity * 3 }],
    ['no predictions', { probes: [] }],
    ['predictions of other experts', { probes: model.probes.map((one) => ({ ...one, quality: [0.5] })) }],
  ])('fails on other %s', (_, changed) => {
    expect(selfTest(read({ ...model, ...changed }))).toMatch(/^it/);
  });
});
