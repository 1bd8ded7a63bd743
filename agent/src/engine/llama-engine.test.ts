import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import type { MixStep } from './engine.js';
import { describeEngine } from './engine-contract.js';
import {
  chat,
  closeEngines,
  GREEDY,
  keptEngine,
  MATH,
  modelOf,
  never,
  openEngine,
  PROMPT,
  reached,
  ROOT,
} from './llama-engine.fixture.js';

afterEach(closeEngines);

for (const expert of ['math', 'generalist', 'moe']) {
  describeEngine(`llama.cpp with the bundled ${expert}`, async () => {
    const engine = keptEngine();
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

it('ends an answer whose grammar takes for ever, and works on', async () => {
  const engine = openEngine(1500);
  await engine.load(MATH, never);
  const twice = Array.from({ length: 30 }, (_, i) => `r${i} ::= r${i + 1} r${i + 1} | r${i + 1}`).join('\n');
  const grammar = { kind: 'gbnf' as const, text: `root ::= r0\n${twice}\nr30 ::= "a"` };
  const answer = engine.generate(MATH.variantId, chat(PROMPT), GREEDY, () => {}, never, { grammar });
  await expect(answer).rejects.toMatchObject({ code: 'engine.timeout' });
  await reached(engine, 'ready');
  await engine.load(MATH, never);
  const result = await engine.generate(MATH.variantId, chat(PROMPT), { ...GREEDY, maxTokens: 3 }, () => {}, never);
  expect(result.outputTokens).toBe(3);
});

describe('LlamaEngine', () => {
  it('repeats a sampled answer with its seed, and varies without', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const answer = async (seed: number): Promise<string> => {
      let text = '';
      const sampling = { maxTokens: 40, temperature: 0.9, topP: 0.95, seed, stop: [] };
      await engine.generate(MATH.variantId, chat(PROMPT), sampling, (piece) => (text += piece), never);
      return text;
    };
    const [first, again, other] = [await answer(1), await answer(1), await answer(2)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  it('stops at the end of the context and says how long a prompt was that does not fit', async () => {
    const engine = openEngine();
    await engine.load({ ...MATH, contextTokens: 64 }, never);
    const result = await engine.generate(MATH.variantId, chat(PROMPT), GREEDY, () => {}, never);
    expect(result.finishReason).toBe('length');
    expect(result.promptTokens + result.outputTokens).toBe(64);
    const long = engine.generate(MATH.variantId, chat('apple '.repeat(90)), GREEDY, () => {}, never);
    await expect(long).rejects.toThrow(/has \d+ tokens.*holds 64/);
  });

  it('holds several variants at once and reports the memory of each', async () => {
    const engine = openEngine();
    for (const expert of ['math', 'code']) {
      const { memory } = await engine.load(modelOf(expert), never);
      expect(memory).toBeGreaterThan(1e6);
      expect(memory).toBeLessThan(1e8);
    }
    const tokens = await Promise.all(
      ['math', 'code'].map(async (expert) => {
        const sampling = { ...GREEDY, maxTokens: 4 };
        return (await engine.generate(modelOf(expert).variantId, chat(PROMPT), sampling, () => {}, never)).outputTokens;
      }),
    );
    expect(tokens).toEqual([4, 4]);
  });

  it('mixes exactly: bits of an answer are those of its score, step by step, whole characters only', async () => {
    const engine = openEngine();
    await engine.load(MATH, never);
    const said = 'It is 7 — 東京 ☕, ok';
    const { tokenBits = [], promptBits } = await engine.score(MATH.variantId, PROMPT, said, never, {
      detail: 'tokens',
    });
    // A tokenizer of its own is not at hand: the tokens are found by following the bits of the score.
    const steps: MixStep[] = [];
    const pieces: string[] = [];
    const follow = async (step: MixStep): Promise<number> => {
      steps.push(step);
      pieces.push(step.text);
      const bits = tokenBits[step.step] ?? NaN;
      const at = step.next.logProbs.findIndex((logProb) => Math.abs(-logProb / Math.LN2 - bits) < 1e-3);
      return step.next.ids[at] ?? -1;
    };
    const options = { input: chat(PROMPT), topK: 512, maxTokens: 200, stop: [] };
    await engine.mix(MATH.variantId, options, follow, never).catch(() => {});
    expect(steps[0]?.promptBits).toBeCloseTo(promptBits ?? NaN, 2);
    expect(steps.length).toBeGreaterThan(2);
    expect(pieces.join('')).not.toContain('\uFFFD');
    expect(said.startsWith(pieces.join(''))).toBe(true);
  });

  // Values of experts/README.md (full precision, another framework); Q8_0 agrees within 0.005, rounding adds 0.0005.
  it.each([
    ['math', 'math', 1.275],
    ['generalist', 'math', 1.793],
    ['math', 'dialogue', 2.708],
  ])('scores %s on the first 120 %s validation documents as the model card says', async (expert, domain, expected) => {
    const engine = openEngine();
    const model = modelOf(expert);
    await engine.load(model, never);
    const lines = (await readFile(join(ROOT, 'experts/data', `${domain}.valid.jsonl`), 'utf8')).split('\n', 120);
    let bits = 0;
    let bytes = 0;
    for (const line of lines) {
      const { prompt, completion } = JSON.parse(line) as { prompt: string; completion: string };
      const score = await engine.score(model.variantId, prompt, completion, never);
      bits += score.bits;
      bytes += score.bytes;
    }
    expect(Math.abs(bits / bytes - expected)).toBeLessThan(0.006);
  });
});
