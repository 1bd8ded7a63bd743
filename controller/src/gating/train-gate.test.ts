import * as fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';

import { crossValidate } from './cross-validate.js';
import { evaluateGate } from './evaluate-gate.js';
import { decodeGateModel, encodeGateModel, type GateModel } from './gate-model.js';
import { gateOf } from './linear-gate.js';
import { LinearScorer } from './linear-scorer.js';
import type { Outcome } from './outcomes.js';
import { DOMAINS, GENERALIST, INSIDE, OUTSIDE, syntheticOutcomes } from './outcomes.fixture.js';
import { OTHER_CLASS } from './gate.js';
import { trainGate } from './train-gate.js';

const outcomes = syntheticOutcomes(120);
let model: GateModel;
beforeAll(() => {
  model = trainGate(outcomes);
});

const qualityOf = (of: GateModel, prompt: string) => {
  const { quality } = new LinearScorer(of).score(prompt);
  return Object.fromEntries(of.experts.map((expert, at) => [expert.name, quality[at] ?? NaN]));
};

/** The model with only some of its experts: their parts, nothing trained again. */
function masked(full: GateModel, keep: readonly number[]): GateModel {
  const rows = (weights: Float32Array) =>
    Float32Array.from(keep.flatMap((at) => [...weights.subarray(at * full.rank, (at + 1) * full.rank)]));
  return {
    ...full,
    experts: keep.flatMap((at) => full.experts.slice(at, at + 1)),
    classes: full.classes.map((one) => ({ ...one, experts: keep.flatMap((at) => one.experts.slice(at, at + 1)) })),
    qualityWeights: rows(full.qualityWeights),
    lengthWeights: rows(full.lengthWeights),
  };
}

describe('a trained gate', () => {
  test('finds the expert of prompts it has not seen, with calibrated errors', () => {
    const fresh = syntheticOutcomes(90, 2);
    const scorer = new LinearScorer(model);
    let [right, within] = [0, 0];
    for (const { task, prompt, y } of fresh) {
      const score = scorer.score(prompt);
      const best = model.experts[score.quality.indexOf(Math.max(...score.quality))]?.name;
      if (best === task) right++;
      model.experts.forEach(({ name }, at) => {
        if (Math.abs((score.quality[at] ?? 0) - (y[name] ?? 0)) <= 2 * (score.sd[at] ?? 0)) within++;
      });
    }
    expect(right / fresh.length).toBeGreaterThan(0.97);
    expect(within / (fresh.length * model.experts.length)).toBeGreaterThan(0.85);
  });

  test('predicts quality and answer length, not only ranks', () => {
    const scorer = new LinearScorer(model);
    const story = scorer.score('why did the king send the princess to the dragon castle');
    const math = scorer.score('how many apples in total, twice 12 dollars each');
    const at = (name: string) => model.experts.findIndex((expert) => expert.name === name);
    expect(Math.abs((story.quality[at('story')] ?? 0) - INSIDE)).toBeLessThan(0.1);
    expect(Math.abs((story.quality[at('math')] ?? 0) - OUTSIDE)).toBeLessThan(0.1);
    expect(Math.abs((story.quality[at('generalist')] ?? 0) - GENERALIST)).toBeLessThan(0.1);
    expect(story.outputTokens[at('story')]).toBeLessThan(40);
    expect(math.outputTokens[at('math')]).toBeGreaterThan(60);
  });

  test('is the same for the same outcomes and seed, and another for another seed', () => {
    expect(encodeGateModel(trainGate(outcomes, { seed: 1 }))).toBe(encodeGateModel(model));
    expect(encodeGateModel(trainGate(outcomes, { seed: 2 }))).not.toBe(encodeGateModel(model));
  });

  test('is read back from its file as it was written', () => {
    const read = decodeGateModel(encodeGateModel(model), 'gate.json');
    const prompt = 'python function with a string argument';
    expect(new LinearScorer(read).score(prompt)).toEqual(new LinearScorer(model).score(prompt));
  });

  test('leaving experts out never changes the score of the others', () => {
    fc.assert(
      fc.property(
        fc.subarray([0, 1, 2, 3], { minLength: 1 }),
        fc.oneof(fc.string({ maxLength: 200 }), fc.constantFrom(...outcomes.map((outcome) => outcome.prompt))),
        (keep, prompt) => {
          const all = qualityOf(model, prompt);
          const few = qualityOf(masked(model, keep), prompt);
          for (const [name, quality] of Object.entries(few)) expect(quality).toBe(all[name]);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('any text gets scores between 0 and 1 with a positive error bar and length', () => {
    const scorer = new LinearScorer(model);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (prompt) => {
        const score = scorer.score(prompt);
        expect([...score.quality].every((quality) => quality >= 0 && quality <= 1)).toBe(true);
        expect([...score.sd].every((sd) => sd > 0 && Number.isFinite(sd))).toBe(true);
        expect([...score.outputTokens].every((tokens) => tokens >= 1)).toBe(true);
        expect([...score.classProbabilities].reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
      }),
    );
  });

  test.each([
    ['nothing', ''],
    ['blanks', ' \n\t '.repeat(1_000)],
    ['10 MB of words', 'how many apples in total '.repeat(400_000)],
    ['10 MB of one letter', 'a'.repeat(10_000_000)],
    ['10 MB of signs that normalisation multiplies', 'ﷺ'.repeat(3_300_000)],
    ['binary', Array.from({ length: 5_000 }, (_, at) => String.fromCharCode((at * 7919) % 0x10000)).join('')],
    ['emoji alone', '🦊🎉👩‍👩‍👧‍👦'.repeat(500)],
    ['lone surrogates', '\ud800\udc00\udc00'.repeat(2_000)],
    ['one known gram over and over', 'python '.repeat(200_000)],
  ])('gives finite figures for %s', (_, prompt) => {
    const score = new LinearScorer(model).score(prompt);
    for (const values of [score.quality, score.sd, score.outputTokens, score.classProbabilities, score.embedding]) {
      expect(values.every((value) => Number.isFinite(value))).toBe(true);
    }
    expect(score.novelty).toBeGreaterThanOrEqual(0);
    expect(score.novelty).toBeLessThanOrEqual(1);
    expect(score.promptTokens).toBeGreaterThanOrEqual(1);
  });

  test('flags prompts of other scripts, binary and emoji as unlike those it was trained on', () => {
    const scorer = new LinearScorer(model);
    for (const prompt of [
      '漢字仮名交じり文の例です',
      'Привет, как дела сегодня',
      '🦊🎉'.repeat(40),
      '\u0000\u0001\u0002'.repeat(99),
    ]) {
      expect(scorer.score(prompt).novelty).toBeGreaterThan(0.5);
    }
  });

  test('places a prompt on the unit sphere of its centroids, near that of its own class', () => {
    const scorer = new LinearScorer(model);
    const { rank, classes, centroids } = model;
    for (const { task, prompt } of outcomes.slice(0, 12)) {
      const { embedding } = scorer.score(prompt);
      const cosines = classes.map((_, at) =>
        embedding.reduce((sum, value, axis) => sum + value * (centroids[at * rank + axis] ?? 0), 0),
      );
      expect(embedding.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(1, 6);
      expect(classes[cosines.indexOf(Math.max(...cosines))]?.label).toBe(task);
    }
  });

  test('is unsure of what it has never seen, and then says what is true of each expert in general', () => {
    const scorer = new LinearScorer(model);
    const strange = scorer.score('Ω≈ç√∫ 漢字仮名交じり文 ЖЩЫ');
    const usual = scorer.score(outcomes[0]?.prompt ?? '');
    expect(strange.novelty).toBeGreaterThan(usual.novelty);
    strange.sd.forEach((sd, at) => expect(sd).toBeGreaterThan(usual.sd[at] ?? 0));
  });

  test('as the fleet uses it: classes, class quality and one score per expert', () => {
    const gate = gateOf(model);
    const quality = (expert: (typeof gate.experts)[number]) => gate.classQuality(OTHER_CLASS, expert)?.quality ?? 0;
    expect(gate.classes).toEqual([...[...DOMAINS].sort(), OTHER_CLASS]);
    expect(gate.trainedOn).toBe(120);
    const score = gate.score('python function returns a list');
    expect(score.classId).toBe('code');
    expect(gate.score('Ω≈ç√∫ 漢字仮名交じり文 ЖЩЫ').classId).toBe(OTHER_CLASS);
    expect([...score.experts.keys()]).toEqual(gate.experts);
    const [code, math] = gate.experts;
    const known = code === undefined ? undefined : gate.classQuality(score.classId, code);
    expect(known?.quality).toBeCloseTo(INSIDE, 1);
    expect(known?.sd).toBeLessThan(0.05);
    expect(math === undefined ? undefined : gate.classQuality(score.classId, math)?.quality).toBeLessThan(0.5);
    const best = [...gate.experts].sort((a, b) => quality(b) - quality(a))[0];
    expect(best).toBe('generalist');
  });

  test('names that are no expert ids are fine in files, but not for a fleet', () => {
    const odd = trainGate(outcomes.map((outcome) => ({ ...outcome, y: { 'GPT-4 (big)': 0.5, 'Yi/34B': 0.4 } })));
    expect(qualityOf(odd, 'hello')['GPT-4 (big)']).toBeCloseTo(0.5, 1);
    expect(() => gateOf(odd)).toThrow(expect.objectContaining({ code: 'gate.invalid-model' }));
  });
});

describe('training on what real files hold', () => {
  test('models that are missing on some prompts, no tasks, no lengths', () => {
    const partial: Outcome[] = outcomes.map(({ id, prompt, y }, at) => ({
      id,
      prompt,
      y: Object.fromEntries(Object.entries(y).filter(([name]) => name !== 'math' || at % 4 === 0)),
    }));
    const gate = trainGate(partial);
    expect(gate.tasks.map((one) => one.label)).toEqual(['general']);
    expect(gate.classes.length).toBeGreaterThan(1);
    expect(gate.experts.find((expert) => expert.name === 'math')?.outcomes).toBe(30);
    const scores = qualityOf(gate, 'how many apples in total, each twice');
    expect(scores['math']).toBeGreaterThan(scores['code'] ?? 1);
    expect(new LinearScorer(gate).score('x').outputTokens[0]).toBeCloseTo(128, 0);
  });

  test('labels that look alike become classes of different names', () => {
    const tasks = ['MMLU: law', 'mmlu--law', '…', 'Ünïcode task'];
    const gate = trainGate(outcomes.map((outcome, at) => ({ ...outcome, task: tasks[at % 4] ?? '' })));
    const ids = gate.classes.map((one) => one.id);
    expect(new Set(ids).size).toBe(4);
  });

  test('the same prompt a hundred times, or qualities that never vary, are learned without fault', () => {
    const same = trainGate(
      Array.from({ length: 100 }, (_, at) => ({ id: `${at}`, prompt: 'yes', y: { a: 0.5, b: 1 } })),
    );
    expect(qualityOf(same, 'yes')).toEqual({ a: 0.5, b: 1 });
  });

  test('too few outcomes are refused', () => {
    expect(() => trainGate(outcomes.slice(0, 5))).toThrow(expect.objectContaining({ code: 'outcomes.invalid' }));
  });

  test('cross-validation predicts every outcome without having seen it, and beats the best single model', () => {
    const predictions = crossValidate(outcomes, 3, 1);
    const result = evaluateGate(
      outcomes.flatMap(({ task, y }, at) => {
        const prediction = predictions[at];
        return prediction === undefined ? [] : [{ truth: { task, y }, prediction }];
      }),
    );
    expect(result.prompts).toBe(120);
    expect(result.bestSingle.model).toBe('generalist');
    expect(result.capturedOverBestSingle).toBeGreaterThan(0.9);
    expect(result.ece).toBeLessThan(0.05);
  });
});
