import { ManualClock } from '@fleetgate/shared/clock';
import { classId, variantId } from '@fleetgate/shared/ids';
import { beforeEach, describe, expect, it } from 'vitest';

import { describeEngine } from './engine-contract.js';
import type { EngineModel, GenerateResult } from './engine.js';
import { GovernedEngine } from './governed-engine.js';
import { ScriptedEngine } from './scripted-engine.js';

const never = new AbortController().signal;
const MOE: EngineModel = {
  variantId: variantId('moe-k4'),
  path: 'moe.gguf',
  contextTokens: 100,
  stop: [],
  serving: { slabsPerToken: 4, leastSlabsPerToken: 1 },
};
const hot = { ratio: 1, reason: '90 °C' };
const ease = { ratio: 0, reason: '' };

let inner: ScriptedEngine;
let engine: GovernedEngine;
let changes: string[];

beforeEach(() => {
  inner = new ScriptedEngine({ clock: new ManualClock() });
  changes = [];
  engine = new GovernedEngine(inner, (what) => changes.push(what));
});

describe('GovernedEngine', () => {
  it('lowers active slabs under strain as far as the variant allows, and raises them again', async () => {
    await engine.load(MOE, never);
    expect(engine.govern({ ratio: 0.4, reason: 'warm' })).toEqual([{ variantId: MOE.variantId, slabs: 3 }]);
    expect(engine.govern(hot)).toEqual([{ variantId: MOE.variantId, slabs: 1 }]);
    expect(inner.slabsPerToken(MOE.variantId)).toBe(1);
    expect(engine.govern(hot)).toEqual([]);
    expect(engine.govern(ease)).toEqual([{ variantId: MOE.variantId, slabs: 4 }]);
    expect(changes).toEqual(['change', 'change', 'change']);
  });

  it('lowers those of a variant that is loaded while the device is strained', async () => {
    engine.govern(hot);
    await engine.load(MOE, never);
    expect(inner.slabsPerToken(MOE.variantId)).toBe(1);
  });

  it('leaves alone what may not be lowered', async () => {
    const { serving: _, ...plain } = MOE;
    await engine.load(plain, never);
    await engine.load({ ...MOE, variantId: variantId('fixed'), serving: { slabsPerToken: 2 } }, never);
    expect(engine.govern(hot)).toEqual([]);
  });

  it('knows how much prompts of two classes share, by patterns where the classes are tasks', async () => {
    const [math, code, other] = [classId('math'), classId('code'), classId('new-1')];
    const patterns = {
      tasks: ['code', 'math'],
      likeness: [
        [1, 0.3],
        [0.3, 1],
      ],
    };
    let strategy = 'cache';
    const engineWithSlabs = Object.assign(inner, {
      load: async () => ({ memory: 1, loadTime: 1, residency: { strategy, reason: '' }, patterns }),
    }) as unknown as ScriptedEngine;
    engine = new GovernedEngine(engineWithSlabs, (what) => changes.push(what));
    expect(engine.sharing(MOE.variantId, math, math)).toBe(0);
    await engine.load(MOE, never);
    expect(engine.sharing(MOE.variantId, math, code)).toBe(0.3);
    expect(engine.sharing(MOE.variantId, other, other)).toBe(1);
    expect(engine.sharing(MOE.variantId, other, code)).toBe(0);
    strategy = 'none';
    await engine.load(MOE, never);
    expect(engine.sharing(MOE.variantId, math, math)).toBe(0);
  });

  it('tells what keeping slabs achieved over recent answers', async () => {
    const result: Partial<GenerateResult>[] = [
      { promptTokens: 6, outputTokens: 4, slabs: { routed: 100, hits: 50, bytesRead: 1000, waitMs: 20 } },
      {
        promptTokens: 0,
        outputTokens: 12,
        pattern: { task: 'math', similarity: 0.9 },
        slabs: { routed: 20, hits: 20, bytesRead: 0, waitMs: 0 },
      },
    ];
    const engineWithSlabs = Object.assign(inner, {
      load: async () => ({ memory: 1, loadTime: 1, residency: { strategy: 'cache', reason: 'half fits' } }),
      generate: async () => result.shift(),
    }) as unknown as ScriptedEngine;
    engine = new GovernedEngine(engineWithSlabs, (what) => changes.push(what));
    await engine.load(MOE, never);
    const generate = (): Promise<GenerateResult> =>
      engine.generate(
        MOE.variantId,
        { kind: 'complete', prompt: '' },
        { maxTokens: 1, temperature: 0, topP: 1, stop: [] },
        () => {},
        never,
      );
    expect(engine.slabsOf(MOE.variantId)).toEqual({ strategy: 'cache', reason: 'half fits' });
    await generate();
    const first = { strategy: 'cache', reason: 'half fits', hitRatio: 0.5, readBytesPerToken: 100, waitMsPerToken: 2 };
    expect(engine.slabsOf(MOE.variantId)).toEqual(first);
    await generate();
    expect(engine.slabsOf(MOE.variantId)).toMatchObject({ hitRatio: 0.6, readBytesPerToken: 40, task: 'math' });
    await engine.unload(MOE.variantId);
    expect(engine.slabsOf(MOE.variantId)).toBeUndefined();
  });
});

describeEngine('the governed engine', async () => {
  const scripted = new ScriptedEngine({ clock: new ManualClock() });
  const governed = new GovernedEngine(scripted, () => {});
  const words = 'one two three four five six seven eight nine ten eleven twelve thirteen fourteen';
  return {
    engine: governed,
    model: MOE,
    prompt: words,
    scores: true,
    knowsGrammars: false,
    close: () => governed.close(),
  };
});
