import { describe, expect, it } from 'vitest';

import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { variantId } from '@fleetgate/shared/ids';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { describeEngine } from './engine-contract.js';
import { ScriptedEngine } from './scripted-engine.js';

const MODEL = { variantId: variantId('script-q8_0'), path: '', contextTokens: 320, stop: ['\nQuestion:'] };
const PROMPT = 'one two three four five six seven eight nine ten eleven twelve';
const SAMPLING = { maxTokens: 50, temperature: 0, topP: 1, stop: [] };
const never = new AbortController().signal;

describeEngine('the scripted engine', async () => {
  const engine = new ScriptedEngine({ clock: systemClock });
  return { engine, model: MODEL, prompt: PROMPT, scores: true, knowsGrammars: false, close: () => engine.close() };
});

describe('ScriptedEngine', () => {
  const input = { kind: 'complete' as const, prompt: 'a b c d' };

  it('takes its time by the clock', async () => {
    const clock = new ManualClock();
    const engine = new ScriptedEngine({ clock, prefill: milliseconds(100), perToken: milliseconds(10) });
    await engine.load(MODEL, never);
    const call = engine.generate(MODEL.variantId, input, SAMPLING, () => {}, never);
    for (let i = 0; i < 20; i++) {
      clock.advance(10);
      await new Promise(setImmediate);
    }
    expect(await call).toMatchObject({ prefill: 100, decode: 40, outputTokens: 4 });
  });

  it('fails and crashes on demand', async () => {
    const engine = new ScriptedEngine({ clock: systemClock });
    await engine.load(MODEL, never);
    engine.failNextJob(new FleetError('engine.timeout', 'as asked'), 2);
    const seen: string[] = [];
    const job = engine.generate(MODEL.variantId, input, SAMPLING, (text) => seen.push(text), never);
    await expect(job).rejects.toMatchObject({ code: 'engine.timeout' });
    expect(seen).toEqual(['a', ' b']);

    const running = engine.generate(MODEL.variantId, input, SAMPLING, () => engine.crash(), never);
    await expect(running).rejects.toMatchObject({ code: 'engine.crashed' });
    expect(engine.state().state).toBe('restarting');
    engine.recover();
    const again = engine.generate(MODEL.variantId, input, SAMPLING, () => {}, never);
    await expect(again).rejects.toMatchObject({ code: 'engine.unavailable' });
  });
});
