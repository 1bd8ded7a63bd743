import { classId, expertId } from '@fleetgate/shared/ids';
import { describe, expect, test } from 'vitest';

import { type Gate, OTHER_CLASS } from './gate.js';
import { gateOf } from './linear-gate.js';
import { GENERAL_CLASS, LiveGate, uniformGate } from './live-gate.js';
import { DOMAINS, syntheticOutcomes } from './outcomes.fixture.js';
import { trainGate } from './train-gate.js';
import { withUnknownExperts } from './unknown-expert.js';

const trained = gateOf(trainGate(syntheticOutcomes(90)));
const math = 'how many apples in total, each twice';
const gibberish = '\u{1f98a}\u{1f40d}\u0416\u0416\u4e2d\u6587 zzxqv wvvkq pfffh ~~~ \u2603';
const qualities = (gate: Gate, prompt: string) =>
  [...gate.score(prompt).experts].map(([expert, { quality }]) => [expert, Number(quality.toFixed(6))]);

describe('a prompt unlike the training data', () => {
  const live = new LiveGate();
  live.replace(trained);

  test('is scored by what experts do in general, and the score says why', () => {
    const score = live.score(gibberish);
    expect(score.novelty).toBeGreaterThan(0.5);
    expect(score.classId).toBe(OTHER_CLASS);
    expect(score.abstained?.reason).toMatch(/^prompt is unlike the training data \(novelty (0\.\d\d|1\.00)\)$/);
    for (const [expert, own] of score.experts) expect(own).toEqual(trained.classQuality(OTHER_CLASS, expert));
    const best = [...score.experts].reduce((most, one) => (one[1].quality > most[1].quality ? one : most));
    expect(best[0]).toBe('generalist');
  });

  test('others are scored by the gate, unchanged', () => {
    expect(live.score(math)).toEqual(trained.score(math));
    expect(live.score(math).abstained).toBeUndefined();
    expect(DOMAINS).toContain(live.score(math).classId);
  });

  test.each([[''], [' \n\t'], ['\u0000\u0001\ufffd'], ['\u{1f600}'.repeat(500)], ['a '.repeat(200_000)], ['\ud800']])(
    'odd content never throws (%#)',
    (prompt) => {
      const score = live.score(prompt);
      expect(score.promptTokens).toBeGreaterThan(0);
      for (const { quality, sd } of score.experts.values()) {
        expect(quality).toBeGreaterThanOrEqual(0);
        expect(quality).toBeLessThanOrEqual(1);
        expect(Number.isFinite(sd)).toBe(true);
      }
    },
  );
});

describe('the state of the gate in use', () => {
  test('goes from training to ready, and through another training without a gap', () => {
    const live = new LiveGate();
    let changes = 0;
    live.changes$.subscribe(() => changes++);
    expect([live.state, live.why]).toEqual(['training', undefined]);
    live.replace(trained);
    expect([live.state, live.why]).toEqual(['ready', undefined]);
    live.startTraining();
    expect([live.state, live.score(math)]).toEqual(['training', trained.score(math)]);
    live.abandonTraining('no luck');
    expect([live.state, live.why, live.trainedOn]).toEqual(['ready', undefined, 90]);
    expect(changes).toBe(3);
  });

  test('is degraded where there is nothing to train on: one class, the cards alone', () => {
    const live = new LiveGate();
    live.abandonTraining('there are no outcomes');
    expect([live.state, live.why, live.classes, live.trainedOn]).toEqual([
      'degraded',
      'there are no outcomes',
      [GENERAL_CLASS],
      0,
    ]);
    expect(live.score(math).abstained?.reason).toContain('there are no outcomes');
    const carded = withUnknownExperts(live, () => [{ id: expertId('new'), domains: [], bitsPerByte: { law: 1 } }]);
    expect(carded.score(math)).toMatchObject({ abstained: { reason: expect.any(String) as string } });
    expect(carded.score(math).experts.get(expertId('new'))?.quality).toBe(0.5);
  });

  test('of a gate that is not trusted keeps what its experts do in general, until another is trained', () => {
    const live = new LiveGate();
    live.degrade('self-test failed', trained);
    expect([live.state, live.why]).toEqual(['degraded', 'self-test failed']);
    expect(qualities(live, math)).toEqual(qualities(live, 'def python'));
    expect(live.classQuality(GENERAL_CLASS, expertId('math'))).toEqual(
      trained.classQuality(OTHER_CLASS, expertId('math')),
    );
    expect(live.classQuality(classId('math'), expertId('math'))).toBeUndefined();
    live.startTraining();
    live.abandonTraining('training failed');
    expect([live.state, live.why]).toEqual(['degraded', 'self-test failed']);
    live.replace(trained);
    expect([live.state, live.score(math)]).toEqual(['ready', trained.score(math)]);
  });

  test('of a gate that throws tells so until it scores again, and the prompt is scored all the same', () => {
    const faults: unknown[] = [];
    const live = new LiveGate((error) => faults.push(error));
    live.replace({
      ...trained,
      score: (prompt) => {
        if (prompt === 'boom') throw new Error('out of range');
        return trained.score(prompt);
      },
      classQuality: (of, expert) => trained.classQuality(of, expert),
    });
    expect(live.score('boom')).toMatchObject({
      classId: OTHER_CLASS,
      abstained: { reason: 'the gate failed on this prompt (out of range)' },
    });
    expect(live.score('boom').experts.size).toBe(4);
    expect([live.state, live.why, faults.length]).toEqual(['degraded', 'the gate failed on a prompt: out of range', 2]);
    live.score(math);
    expect(live.state).toBe('ready');
  });
});

test('a uniform gate without experts has one class and no score', () => {
  const gate = uniformGate('nothing is known');
  expect([gate.experts, gate.classes, gate.trainedOn]).toEqual([[], [GENERAL_CLASS], 0]);
  expect(gate.score('').promptTokens).toBe(1);
});
