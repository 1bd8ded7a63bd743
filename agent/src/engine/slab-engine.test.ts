import { mkdtempSync, rmSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { systemClock } from '@fleetgate/shared/clock';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { estimateMemory } from '@fleetgate/shared/gguf/facts';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { writeLora } from '../gguf/lora.fixture.js';
import type { Engine, EngineModel, GenerateResult } from './engine.js';
import { describeEngine } from './engine-contract.js';
import { createLlamaEngine } from './llama-engine.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PROMPT = 'Janet has 3 apples and buys 4 more. How many apples does she have now?';
const OTHER = 'What are the symptoms of diabetes?';
const never = new AbortController().signal;
const GREEDY = { maxTokens: 40, temperature: 0, topP: 1, stop: [] };

const modelOf = (expert: string): EngineModel => ({
  variantId: variantId(`${expert}-q8_0`),
  path: join(ROOT, 'experts', expert, `${expert}-q8_0.gguf`),
  contextTokens: 320,
  stop: ['\nQuestion:'],
});
const open = (hosts: 'models' | 'slabs') =>
  createLlamaEngine({
    threads: 1,
    sequences: 2,
    gpu: 'off',
    hosts,
    watchdog: milliseconds(10_000),
    log: silentLogger,
    clock: systemClock,
  });

for (const expert of ['math', 'moe']) {
  describeEngine(`the slab-aware engine with the bundled ${expert}`, async () => {
    const engine = open('slabs');
    return {
      engine,
      model: modelOf(expert),
      prompt: PROMPT,
      scores: true,
      knowsGrammars: true,
      close: () => engine.close(),
    };
  });
}

describe('the slab-aware engine', () => {
  const MOE = modelOf('moe');
  let slabs: Engine;
  let ordinary: Engine;
  beforeAll(async () => {
    [slabs, ordinary] = [open('slabs'), open('models')];
    for (const engine of [slabs, ordinary]) await engine.load(MOE, never);
  });
  afterAll(async () => {
    await Promise.all([slabs.close(), ordinary.close()]);
  });

  const answer = async (engine: Engine, prompt: string): Promise<{ text: string; result: GenerateResult }> => {
    let text = '';
    const input = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: prompt }] };
    const result = await engine.generate(MOE.variantId, input, GREEDY, (piece) => (text += piece), never, {
      confidence: true,
    });
    return { text, result };
  };

  it('answers, scores and is as sure as the ordinary one', async () => {
    for (const prompt of [PROMPT, OTHER]) {
      const [one, other] = [await answer(slabs, prompt), await answer(ordinary, prompt)];
      expect(one.text).toBe(other.text);
      // Kernels of another batch size round otherwise, and the router may fall to another slab of equal score.
      expect(one.result.meanLogProb).toBeCloseTo(other.result.meanLogProb ?? NaN, 1);
      const score = (engine: Engine) => engine.score(MOE.variantId, prompt, one.text, never, { detail: 'tokens' });
      const [here, there] = [await score(slabs), await score(ordinary)];
      expect(here.bytes).toBe(there.bytes);
      expect(here.scoredTokens).toBe(there.scoredTokens);
      expect(here.bits / there.bits).toBeCloseTo(1, 2);
      expect((here.promptBits ?? NaN) / (there.promptBits ?? NaN)).toBeCloseTo(1, 2);
    }
  });

  it('answers with adapters as the ordinary one does, and without where they are laid on with 0', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fleetgate-adapters-'));
    try {
      const path = join(folder, 'adapter.gguf');
      const weights = [0, 1, 2, 3].map((layer) => `blk.${layer}.attn_v.weight`);
      writeLora(path, await readGguf(MOE.path), weights, { deviation: 0.3 });
      const bits = async (engine: Engine, scale: number): Promise<number> => {
        const model = { ...MOE, variantId: variantId(`adapted-${scale}`), adapters: [{ path, scale }] };
        await engine.load(model, never);
        const { bits: told } = await engine.score(model.variantId, OTHER, 'Thirst, hunger and tiredness.', never);
        await engine.unload(model.variantId);
        return told;
      };
      const [with1, with0] = [await bits(slabs, 1), await bits(slabs, 0)];
      const plain = await slabs.score(MOE.variantId, OTHER, 'Thirst, hunger and tiredness.', never);
      expect(with0).toBe(plain.bits);
      expect(with1).not.toBeCloseTo(with0, 1);
      expect(with1 / (await bits(ordinary, 1))).toBeCloseTo(1, 2);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('embeds texts as the ordinary one does', async () => {
    const embed = async (engine: Engine) => (await engine.embed(MOE.variantId, [PROMPT, OTHER], never)).vectors;
    const [here, there] = [await embed(slabs), await embed(ordinary)];
    for (const [i, vector] of here.entries()) {
      expect(vector.reduce((sum, one, d) => sum + one * (there[i]?.[d] ?? 0), 0)).toBeGreaterThan(0.999);
    }
  });

  it('answers several prompts at once as it answers each alone', async () => {
    const alone = [await answer(slabs, PROMPT), await answer(slabs, OTHER)];
    const together = await Promise.all([answer(slabs, PROMPT), answer(slabs, OTHER), answer(slabs, PROMPT)]);
    expect(together.map(({ text }) => text)).toEqual([alone[0]?.text, alone[1]?.text, alone[0]?.text]);
  });

  it('does not evaluate again what a prompt begins with as one before it did', async () => {
    const fresh = await answer(slabs, `${OTHER} Tell me more.`);
    const again = await answer(slabs, `${OTHER} Tell me more.`);
    expect(again.text).toBe(fresh.text);
    expect(again.result.reusedTokens).toBe(again.result.promptTokens - 1);
    const longer = await answer(slabs, `${OTHER} Tell me more. And what helps?`);
    expect(longer.result.reusedTokens).toBeGreaterThan(8);
    // Both sequences are taken by something else.
    await Promise.all([answer(slabs, PROMPT), answer(slabs, `${PROMPT} Why?`)]);
    const anew = await answer(slabs, `${OTHER} Tell me more. And what helps?`);
    expect(anew.result.reusedTokens ?? 0).toBeLessThan(longer.result.reusedTokens ?? 0);
    expect(anew.text).toBe(longer.text);
  });

  it('uses as many slabs a token as a variant is served with, as the ordinary engine does', async () => {
    const K1 = { ...MOE, variantId: variantId('moe-k1'), serving: { slabsPerToken: 1 } };
    const bits = async (engine: Engine, model: EngineModel): Promise<number> => {
      await engine.load(model, never);
      return (await engine.score(model.variantId, OTHER, 'Thirst, hunger and tiredness.', never)).bits;
    };
    const [here, there, two] = [await bits(slabs, K1), await bits(ordinary, K1), await bits(ordinary, MOE)];
    expect(here / there).toBeCloseTo(1, 2);
    expect(here / two).not.toBeCloseTo(1, 2);
  });

  it('uses fewer slabs on demand, and as many as before after', async () => {
    const two = (await answer(slabs, OTHER)).result.meanLogProb;
    expect(slabs.setSlabsPerToken(MOE.variantId, 1)).toBe(true);
    expect((await answer(slabs, `${OTHER} `)).result.meanLogProb).not.toBeCloseTo(two ?? NaN, 3);
    expect(slabs.setSlabsPerToken(MOE.variantId, undefined)).toBe(true);
    expect(ordinary.setSlabsPerToken(MOE.variantId, 1)).toBe(false);
  });
});

describe('the slab-aware engine with part of the slabs in memory', () => {
  const SLABS = 4 * 16 * 78_336;
  let folder: string;
  let whole: Engine;
  const engines: Engine[] = [];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
    whole = open('slabs');
    engines.push(whole);
    await whole.load(modelOf('moe'), never);
  });
  afterAll(async () => {
    for (const engine of engines) await engine.close();
    await rm(folder, { recursive: true });
  });

  const part = async (share: number, name = `${share}.gguf`): Promise<EngineModel> => {
    const path = join(folder, name);
    await copyFile(modelOf('moe').path, path);
    const serving = { slabBudgetBytes: Math.floor(share * SLABS) };
    return { ...modelOf('moe'), variantId: variantId(`moe-${share}`), path, serving };
  };
  const answer = async (engine: Engine, model: EngineModel, prompt: string) => {
    let text = '';
    const input = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: prompt }] };
    const result = await engine.generate(model.variantId, input, GREEDY, (piece) => (text += piece), never, {
      confidence: true,
    });
    return { text, result };
  };

  it.each([0.5, 0.25, 0.05])('answers to the last bit as with all of them, with a share of %d', async (share) => {
    const engine = open('slabs');
    engines.push(engine);
    const model = await part(share);
    const loaded = await engine.load(model, never);
    expect(loaded.residency?.strategy).toBe('cache');
    for (const prompt of [PROMPT, OTHER]) {
      const [here, there] = [await answer(engine, model, prompt), await answer(whole, modelOf('moe'), prompt)];
      expect(here.text).toBe(there.text);
      expect(here.result.meanLogProb).toBe(there.result.meanLogProb);
      expect(here.result.slabs?.routed).toBeGreaterThan(here.result.outputTokens);
      expect(here.result.slabs?.hits).toBeLessThan(here.result.slabs?.routed ?? 0);
      expect(here.result.slabs?.bytesRead).toBeGreaterThan(0);
    }
    await engine.unload(model.variantId);
  });

  it('takes what memory could not hold whole, and refuses it with all slabs', async () => {
    const engine = open('slabs');
    engines.push(engine);
    const model = await part(0.25, 'larger.gguf');
    const need = estimateMemory(await readGguf(model.path), model.contextTokens, 2, model.path);
    const available = vi.spyOn(process, 'availableMemory').mockReturnValue(need - SLABS / 2);
    try {
      const { serving: _, ...all } = model;
      await expect(engine.load(all, never)).rejects.toMatchObject({ code: 'engine.out-of-memory' });
      await engine.load(model, never);
    } finally {
      available.mockRestore();
    }
    expect((await answer(engine, model, PROMPT)).text).toBe((await answer(whole, modelOf('moe'), PROMPT)).text);
  });

  it('leaves slabs to the page cache where not even those of one token fit, and says so', async () => {
    const engine = open('slabs');
    engines.push(engine);
    const model = { ...(await part(0.5, 'tiny.gguf')), serving: { slabBudgetBytes: 1000 } };
    const { residency } = await engine.load(model, never);
    expect(residency).toMatchObject({ strategy: 'hint', reason: expect.stringContaining('do not fit together') });
    const [here, there] = [await answer(engine, model, PROMPT), await answer(whole, modelOf('moe'), PROMPT)];
    expect(here.result.meanLogProb).toBe(there.result.meanLogProb);
  });

  it('fails an answer, and no other, when the file is cut off under it', async () => {
    const engine = open('slabs');
    engines.push(engine);
    const model = await part(0.1, 'cut.gguf');
    await engine.load(model, never);
    await answer(engine, model, PROMPT);
    await truncate(model.path, 1_000_000);
    await expect(answer(engine, model, OTHER)).rejects.toMatchObject({ code: 'artefact.unavailable' });
    await engine.unload(model.variantId);
    const [healthy] = [await part(0.5, 'healthy.gguf')];
    await engine.load(healthy, never);
    expect((await answer(engine, healthy, PROMPT)).result.outputTokens).toBeGreaterThan(0);
    expect((await readdir(folder)).some((name) => name.endsWith('.part'))).toBe(false);
  });
});
