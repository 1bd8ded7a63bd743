import { beforeEach, describe, expect, it } from 'vitest';

import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { variantId } from '@fleetgate/shared/ids';
import { type LogFields, silentLogger } from '@fleetgate/shared/logger';

import { describeEngine } from './engine-contract.js';
import type { EngineModel, EngineState } from './engine.js';
import { ModelEngine } from './model-engine.js';
import { ScriptedEngine } from './scripted-engine.js';

const never = new AbortController().signal;
const WHOLE: EngineModel = { variantId: variantId('math-q8_0'), path: 'math.gguf', contextTokens: 100, stop: [] };
const HALF: EngineModel = {
  variantId: variantId('moe-half'),
  path: 'moe.gguf',
  contextTokens: 100,
  stop: [],
  serving: { slabBudgetBytes: 1000, slabsPerToken: 2 },
};
const input = { kind: 'complete' as const, prompt: 'a b c' };
const sampling = { maxTokens: 5, temperature: 0, topP: 1, stop: [] };

let ordinary: ScriptedEngine;
let slabs: ScriptedEngine;
let engine: ModelEngine;
let warnings: LogFields[];
let states: EngineState['state'][];

beforeEach(() => {
  const clock = new ManualClock();
  ordinary = new ScriptedEngine({ clock, answer: () => ['ordinary'] });
  slabs = new ScriptedEngine({ clock, answer: () => ['slabs'] });
  warnings = [];
  states = [];
  engine = new ModelEngine({ ordinary, slabs }, { ...silentLogger, warn: (_, fields = {}) => warnings.push(fields) });
  engine.onState(({ state }) => states.push(state));
});

async function answer(model: EngineModel): Promise<string> {
  let text = '';
  await engine.generate(model.variantId, input, sampling, (piece) => (text += piece), never);
  return text;
}

describe('ModelEngine', () => {
  it('gives mixtures with a budget of slabs to the slab-aware engine, all else to the ordinary one', async () => {
    const fewer = { ...WHOLE, variantId: variantId('moe-k1'), serving: { slabsPerToken: 1 } };
    for (const model of [WHOLE, HALF, fewer]) await engine.load(model, never);
    expect([await answer(WHOLE), await answer(HALF), await answer(fewer)]).toEqual(['ordinary', 'slabs', 'ordinary']);
    await engine.unload(HALF.variantId);
    await expect(answer(HALF)).rejects.toMatchObject({ code: 'engine.unavailable' });
  });

  it('has the ordinary engine take a model where the other cannot be had, and says why', async () => {
    slabs.failNextLoad(new FleetError('engine.unavailable', 'koffi is not installed'));
    const loaded = await engine.load(HALF, never);
    expect(loaded.residency).toEqual({
      strategy: 'none',
      reason: 'the whole file, for the slab-aware engine cannot be had: koffi is not installed',
    });
    expect(warnings).toHaveLength(1);
    expect(await answer(HALF)).toBe('ordinary');
  });

  it('passes on what is wrong with the model itself', async () => {
    slabs.failNextLoad(new FleetError('gguf.malformed', 'cut off'));
    await expect(engine.load(HALF, never)).rejects.toMatchObject({ code: 'gguf.malformed' });
  });

  it('tells of a crash of the slab-aware engine as a loss, and serves on', async () => {
    await engine.load(WHOLE, never);
    await engine.load(HALF, never);
    slabs.crash();
    expect(states).toEqual(['restarting', 'ready']);
    expect(await answer(WHOLE)).toBe('ordinary');
    slabs.recover();
    await engine.load(HALF, never);
    expect(await answer(HALF)).toBe('slabs');
  });

  it('is as ready as the ordinary engine where the other hosts nothing', () => {
    slabs.crash();
    expect(engine.state()).toEqual({ state: 'ready' });
    ordinary.crash();
    expect(engine.state().state).toBe('restarting');
    ordinary.recover();
    expect(engine.state()).toEqual({ state: 'ready' });
    expect(states).toEqual(['restarting', 'ready']);
  });
});

describeEngine('the two engines as one', async () => {
  const two = {
    ordinary: new ScriptedEngine({ clock: systemClock }),
    slabs: new ScriptedEngine({ clock: systemClock }),
  };
  const both = new ModelEngine(two, silentLogger);
  const prompt = 'one two three four five six seven eight nine ten eleven twelve';
  return { engine: both, model: HALF, prompt, scores: true, knowsGrammars: false, close: () => both.close() };
});
