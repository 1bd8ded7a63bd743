import { FleetError } from '@fleetgate/shared/errors';
import { expect, it } from 'vitest';

import { type EngineCalls, GREEDY, never } from './engine-calls.fixture.js';

/** What every engine that mixes must do of answers whose tokens somebody else chooses. */
export function describeMixing(calls: EngineCalls): void {
  const { chat, run, mix, likeliest, codeOf } = calls;

  it('mixes, or says that it cannot', async () => {
    if (calls.under.scores) expect((await mix()).result.outputTokens).toBeGreaterThan(10);
    else expect(await codeOf(mix())).toBe('engine.unavailable');
  });

  it('gives the greedy answer when the likeliest token is always chosen, with its probabilities', async () => {
    if (!calls.under.scores) return;
    const { engine, model } = calls.under;
    let greedy = '';
    const onText = (text: string): void => void (greedy += text);
    const told = await engine.generate(model.variantId, chat(), GREEDY, onText, never, { confidence: true });
    const { text, steps, result } = await mix();
    expect(text).toBe(greedy);
    expect(result).toMatchObject({
      finishReason: told.finishReason,
      promptTokens: told.promptTokens,
      outputTokens: told.outputTokens,
    });
    expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i));
    expect(steps.map(({ promptBits }) => promptBits !== undefined)).toEqual(steps.map((_, i) => i === 0));
    expect(steps[0]?.promptBits).toBeGreaterThan(0);
    for (const { next } of steps) {
      expect(next.ids.length).toBe(next.logProbs.length);
      expect(next.ids.length).toBeLessThanOrEqual(40);
      expect([...next.logProbs].sort((a, b) => b - a)).toEqual(next.logProbs);
      expect(next.logProbs.reduce((sum, one) => sum + Math.exp(one), next.restProb)).toBeCloseTo(1, 4);
    }
    const chosen = steps.slice(0, told.outputTokens).map(({ next }) => next.logProbs[0] ?? NaN);
    const mean = chosen.reduce((sum, one) => sum + one, 0) / chosen.length;
    expect(Math.abs(mean - (told.meanLogProb ?? NaN))).toBeLessThan(0.01);
  });

  it('ends a mixed answer at its length, and before a stop string', async () => {
    if (!calls.under.scores) return;
    const short = await mix({ maxTokens: 3, topK: 1 });
    expect(short.result).toMatchObject({ finishReason: 'length', outputTokens: 3 });
    expect(short.steps).toHaveLength(3);
    expect(short.steps[0]?.next.ids).toHaveLength(1);
    const whole = (await mix()).text;
    const stop = whole.slice(7, 12);
    const { text, result } = await mix({ stop: [stop] });
    expect(text).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(result.finishReason).toBe('stop');
  });

  it('ends a mixed answer whose chooser is gone: aborted, failed, or wrong', async () => {
    if (!calls.under.scores) return;
    const abort = new AbortController();
    const aborted = await mix({}, () => (abort.abort(), new Promise(() => {})), abort.signal);
    expect(aborted.result).toMatchObject({ finishReason: 'cancelled', outputTokens: 0, text: '' });
    expect((await mix({}, likeliest, AbortSignal.abort())).result.finishReason).toBe('cancelled');
    const gone = new FleetError('job.expired', 'as asked');
    expect(await codeOf(mix({}, () => Promise.reject(gone)))).toBe('job.expired');
    expect(await codeOf(mix({}, async () => 1_000_000))).toBe('request.invalid');
    const prompt = `${calls.under.prompt} `.repeat(200);
    expect(await codeOf(mix({ input: { kind: 'complete', prompt } }))).toBe('request.invalid');
    expect((await mix({ maxTokens: 2 })).result.finishReason).toBe('length');
  });

  it('mixes beside other jobs', async () => {
    if (!calls.under.scores) return;
    const alone = (await mix({ maxTokens: 9 })).result;
    const [first, second, third] = await Promise.all([
      mix({ maxTokens: 9 }),
      run({ maxTokens: 9 }),
      mix({ maxTokens: 9 }),
    ]);
    for (const { result } of [first, second, third]) {
      expect(result).toMatchObject({ finishReason: alone.finishReason, outputTokens: alone.outputTokens });
    }
  });
}
