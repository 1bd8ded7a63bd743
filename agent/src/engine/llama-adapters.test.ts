import { mkdtempSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { variantId } from '@fleetgate/shared/ids';

import { writeLora } from '../gguf/lora.fixture.js';
import type { EngineModel } from './engine.js';
import { type LlamaEngine } from './llama-engine.js';
import { chat, closeEngines, GREEDY, MATH, modelOf, never, openEngine, PROMPT } from './llama-engine.fixture.js';

afterEach(closeEngines);

describe('adapters on one base', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-adapters-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const adapted = (name: string, scale: number, file = join(folder, 'one.gguf')): EngineModel => ({
    ...MATH,
    variantId: variantId(name),
    adapters: [{ path: file, scale }],
  });
  const text = async (engine: LlamaEngine, { variantId: variant }: EngineModel): Promise<string> => {
    let said = '';
    await engine.generate(variant, chat(PROMPT), { ...GREEDY, maxTokens: 40 }, (piece) => (said += piece), never);
    return said;
  };
  const written = async (name: string, seed: number): Promise<string> => {
    const path = join(folder, name);
    const base = await readGguf(MATH.path);
    const weights = base.tensors.map((tensor) => tensor.name).filter((tensor) => /attn_[qv]|ffn_down/.test(tensor));
    writeLora(path, base, weights, { seed });
    return path;
  };

  it('share its weights, answer each in their own way, and come and go without it', async () => {
    const [one, other] = [await written('one.gguf', 1), await written('other.gguf', 2)];
    const engine = openEngine();
    const base = await engine.load(MATH, never);
    const plain = await text(engine, MATH);
    const [first, second, silent] = [adapted('first', 1, one), adapted('second', 1, other), adapted('silent', 0, one)];
    const weights = (await stat(MATH.path)).size;
    for (const model of [first, second, silent]) {
      expect((await engine.load(model, never)).memory).toBeLessThan(base.memory);
      expect((await engine.load(model, never)).memory).toBeLessThan(base.memory - 0.9 * weights + 4e6);
    }
    const texts = await Promise.all([first, second, silent].map((model) => text(engine, model)));
    expect(texts[2]).toBe(plain);
    expect(new Set([plain, texts[0], texts[1]]).size).toBe(3);
    await engine.unload(MATH.variantId);
    await engine.unload(second.variantId);
    expect(await text(engine, first)).toBe(texts[0]);
    await engine.load(second, never);
    expect(await text(engine, second)).toBe(texts[1]);
  });

  it('of another model are refused', async () => {
    const path = join(folder, 'wrong.gguf');
    writeLora(path, await readGguf(modelOf('generalist').path), ['blk.0.attn_q.weight'], { rank: 3 });
    const engine = openEngine();
    await expect(engine.load(adapted('wrong', 1, path), never)).rejects.toMatchObject({ code: 'gguf.unsupported' });
    const missing = adapted('missing', 1, join(folder, 'nothing.gguf'));
    await expect(engine.load(missing, never)).rejects.toMatchObject({ name: 'FleetError' });
    await engine.load(MATH, never);
    expect((await text(engine, MATH)).length).toBeGreaterThan(10);
  });
});
