import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';
import { type LlamaLibrary, openLlamaLibrary } from '../native/llama-library.js';
import type { RoutedLayer } from '../slabs/routing.js';
import { RouterForesight } from './router-foresight.js';
import { SlabModel, type SlabModelOptions } from './slab-model.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const TOKENS = [0, 100, 200, 300, 400, 500, 600, 700];
const LAST = TOKENS.length - 1;

let library: LlamaLibrary;
let layout: SlabLayout | undefined;
const models: SlabModel[] = [];

function open(options: Partial<SlabModelOptions> = {}): SlabModel {
  const plain = { path: MOE, layout, contextTokens: 320, sequences: 2, threads: 1, batchTokens: 64 };
  const model = SlabModel.open(library, { ...plain, ...options });
  models.push(model);
  return model;
}

/** Logits after all tokens. */
function logitsOf(model: SlabModel, sequence = 0): Float32Array {
  model.forget(sequence, 0);
  model.evaluate(TOKENS.map((token, position) => ({ token, position, sequence, output: position === LAST })));
  const out = new Float32Array(model.vocabulary);
  model.logits(LAST, out);
  return out;
}

beforeAll(async () => {
  library = await openLlamaLibrary();
  layout = slabLayout(await readGguf(MOE), MOE);
});
afterAll(() => {
  for (const model of models) model.close();
});

describe('SlabModel', () => {
  it('computes what node-llama-cpp computes, to the last bit of a log-probability that counts', async () => {
    const logits = logitsOf(open());
    const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error });
    const plain = await llama.loadModel({ modelPath: MOE, gpuLayers: 0 });
    const context = await plain.createContext({ contextSize: 320, threads: 1 });
    const input = TOKENS.map((token, i) =>
      i === LAST
        ? ([token as Token, { generateNext: { logits: { filter: { includeTop: 20 } } } }] as const)
        : (token as Token),
    );
    const evaluated = await context.getSequence().controlledEvaluate(input as never);
    const top = [...(evaluated[LAST]?.next.logits ?? [])] as unknown as readonly (readonly [number, number])[];
    await llama.dispose();
    expect(top.length).toBeGreaterThanOrEqual(20);
    for (const [token, logit] of top) expect(logits[token]).toBeCloseTo(logit, 5);
  });

  it('shows the choice of every layer and the probabilities that it was made from, and computes the same', () => {
    const model = open();
    const unseen = logitsOf(model);
    const routed: RoutedLayer[] = [];
    model.listener = { probabilities: true, onRouted: (one) => routed.push(one) };
    expect(logitsOf(model)).toEqual(unseen);
    expect(routed.map(({ layer, tokens, slabsPerToken }) => [layer, tokens, slabsPerToken])).toEqual([
      [0, 8, 2],
      [1, 8, 2],
      [2, 8, 2],
      // Only what leads to an output is computed in the last layer.
      [3, 1, 2],
    ]);
    for (const { tokens, slabs, probabilities } of routed) {
      for (let t = 0; t < tokens; t++) {
        const row = [...(probabilities ?? []).slice(16 * t, 16 * (t + 1))];
        const best = row.map((p, slab) => ({ p, slab })).toSorted((a, b) => b.p - a.p);
        expect([...slabs.slice(2 * t, 2 * t + 2)]).toEqual(best.slice(0, 2).map(({ slab }) => slab));
        expect(row.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
      }
    }
  });

  it('computes token by token what it computes at once, and in two sequences what it computes in one', () => {
    const model = open();
    const atOnce = logitsOf(model);
    model.forget(0, 0);
    const out = new Float32Array(model.vocabulary);
    for (const [position, token] of TOKENS.entries()) {
      model.evaluate([{ token, position, sequence: 0, output: true }]);
      model.logits(0, out);
    }
    expect(out).toEqual(atOnce);
    const both = [0, 1].flatMap((sequence) =>
      TOKENS.map((token, position) => ({ token, position, sequence, output: position === LAST })),
    );
    model.forget(-1, 0);
    model.evaluate(both);
    for (const i of [LAST, 2 * LAST + 1]) {
      model.logits(i, out);
      expect(out).toEqual(atOnce);
    }
  });

  it('uses fewer slabs per token on demand exactly as a model that was loaded with so few', () => {
    const [elastic, loaded] = [open(), open({ slabsPerToken: 1 })];
    const two = logitsOf(elastic);
    elastic.slabsPerToken = 1;
    const one = logitsOf(elastic);
    expect(one).toEqual(logitsOf(loaded));
    expect(one).not.toEqual(two);
    elastic.slabsPerToken = undefined;
    expect(logitsOf(elastic)).toEqual(two);
  });

  it('chooses only among the slabs that a mask keeps', () => {
    const model = open();
    const free = logitsOf(model);
    const kept = [1, 4, 9];
    const chosen = new Set<number>();
    model.listener = { probabilities: false, onRouted: ({ slabs }) => slabs.forEach((slab) => chosen.add(slab)) };
    model.keep = layout?.layers.map(() => kept);
    expect(logitsOf(model)).not.toEqual(free);
    expect([...chosen].every((slab) => kept.includes(slab))).toBe(true);
    model.keep = layout?.layers.map(() => Array.from({ length: 16 }, (_, slab) => slab));
    expect(logitsOf(model)).toEqual(free);
  });

  it.each([
    ['fewer slabs than a token uses', 4, [3]],
    ['too few layers', 3, [1, 2]],
  ])('refuses a mask of %s', (_, layers, kept) => {
    const model = open();
    expect(() => {
      model.keep = Array.from({ length: layers }, () => kept);
    }).toThrow(expect.objectContaining({ code: 'request.invalid' }));
  });

  it('breaks an evaluation off when the slabs cannot be had, and goes on with the next', () => {
    const model = open();
    const before = logitsOf(model);
    const asked: number[] = [];
    model.residency = {
      strategy: 'cache',
      begin: () => {},
      ensure: ({ layer }) => {
        asked.push(layer);
        if (layer === 2) throw new Error('storage failed');
      },
      figures: () => ({ routed: 0, hits: 0, waitMs: 0 }),
      close: () => {},
    };
    expect(() => logitsOf(model)).toThrow('storage failed');
    expect(asked).toEqual([0, 1, 2]);
    model.residency = undefined;
    expect(logitsOf(model)).toEqual(before);
  });

  it('foresees what the next layer’s router will choose, mostly', () => {
    const model = open();
    const [guesses, chosen]: [number[], number[][]] = [[], []];
    model.residency = {
      strategy: 'cache',
      begin: () => {},
      ensure: ({ slabs }, foresight) => {
        const scores = foresight?.() ?? new Float32Array();
        chosen.push([...slabs]);
        guesses.push(scores.indexOf(Math.max(...scores)));
      },
      figures: () => ({ routed: 0, hits: 0, waitMs: 0 }),
      close: () => {},
    };
    model.forget(0, 0);
    for (let position = 0; position < 40; position++) {
      model.evaluate([{ token: (position * 37 + 11) % 900, position, sequence: 0, output: true }]);
    }
    const layers = layout?.layers.length ?? 0;
    const judged = guesses.flatMap((guess, i) =>
      guess < 0 || (i + 1) % layers === 0 ? [] : [chosen[i + 1]?.includes(guess) ?? false],
    );
    expect(judged.length).toBeGreaterThan(100);
    // By chance it would be 2 of 16.
    expect(judged.filter(Boolean).length / judged.length).toBeGreaterThan(0.4);
  });

  it('computes a router’s scores as llama.cpp does', () => {
    const model = open();
    type Scores = (this: RouterForesight, at: number, of: number) => Float32Array | undefined;
    const scoresOf = Object.getOwnPropertyDescriptor(RouterForesight.prototype, 'scores')?.value as Scores;
    // Of the layer's own router, in place of the next one's.
    const spy = vi.spyOn(RouterForesight.prototype, 'scores').mockImplementation(function (this: RouterForesight, at) {
      return scoresOf.call(this, at, at);
    });
    let most = 0;
    let compared = 0;
    model.residency = {
      strategy: 'cache',
      begin: () => {},
      ensure: ({ probabilities }, foresight) => {
        for (const [i, score] of (foresight?.() ?? []).entries()) {
          most = Math.max(most, Math.abs(score - (probabilities?.[i] ?? NaN)));
          compared++;
        }
      },
      figures: () => ({ routed: 0, hits: 0, waitMs: 0 }),
      close: () => {},
    };
    for (const [position, token] of TOKENS.entries()) model.evaluate([{ token, position, sequence: 0, output: true }]);
    spy.mockRestore();
    expect(compared).toBeGreaterThan(0);
    expect(most).toBeLessThan(1e-6);
  });

  it('computes with several threads what it computes with one, layer by layer looked at or not', () => {
    const [one, two] = [open(), open({ threads: 2 })];
    const alone = logitsOf(one);
    two.listener = { probabilities: false, onRouted: () => {} };
    expect(logitsOf(two)).toEqual(alone);
    two.listener = undefined;
    expect(logitsOf(two)).toEqual(alone);
  });

  it('says what is wrong with a file that llama.cpp refuses', () => {
    const path = fileURLToPath(import.meta.url);
    expect(() => open({ path })).toThrow(expect.objectContaining({ code: 'gguf.malformed' }));
  });
});
