import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { writeAssembly } from '../gguf/disk-assembly.js';
import { writeSynth } from '../gguf/disk-synth.js';
import { pruning } from '../gguf/prune.js';
import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';
import { SYNTH_ARCHITECTURES } from '../gguf/synth-architectures.js';
import { synthModel } from '../gguf/synth.js';
import { topicTokens } from '../gguf/synth-topics.js';
import { type LlamaLibrary, openLlamaLibrary } from '../native/llama-library.js';
import { prepareSlabs } from '../residency/linux-residency.js';
import { SlabModel, type SlabModelOptions } from './slab-model.js';

const never = new AbortController().signal;
const TEXT = topicTokens(3);
const TOKENS = Array.from({ length: 18 }, () => TEXT.next().value);
/** Two of each four that stay: equally many in each of DeepSeek's groups. */
const KEPT = Array.from({ length: 16 }, (_, slab) => slab).filter((slab) => slab % 4 === 1 || slab % 4 === 2);

let folder: string;
let library: LlamaLibrary;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  library = await openLlamaLibrary();
});
afterAll(async () => rm(folder, { recursive: true }));

function logitsOf(model: SlabModel): Float32Array {
  model.forget(0, 0);
  model.evaluate(
    TOKENS.map((token, position) => ({ token, position, sequence: 0, output: position === TOKENS.length - 1 })),
  );
  const out = new Float32Array(model.vocabulary);
  model.logits(TOKENS.length - 1, out);
  return out;
}

/** Logits after each token, evaluated one by one. */
function stepsOf(model: SlabModel): readonly Float32Array[] {
  model.forget(0, 0);
  return TOKENS.map((token, position) => {
    model.evaluate([{ token, position, sequence: 0, output: true }]);
    const out = new Float32Array(model.vocabulary);
    model.logits(0, out);
    return out;
  });
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);
}

describe.each(Object.keys(SYNTH_ARCHITECTURES))('a mixture of architecture %s', (architecture) => {
  let path: string;
  let layout: SlabLayout;
  const open = async (file = path, options: Partial<SlabModelOptions> = {}): Promise<SlabModel> => {
    const found = slabLayout(await readGguf(file), file);
    const plain = { path: file, layout: found, contextTokens: 64, sequences: 1, threads: 1, batchTokens: 32 };
    return SlabModel.open(library, { ...plain, ...options });
  };
  beforeAll(async () => {
    path = join(folder, `${architecture}.gguf`);
    const size = { layers: 3, slabsPerLayer: 16, slabsPerToken: 4, embedding: 128, slabWidth: 64, heads: 4 };
    await writeSynth(synthModel({ architecture, ...size, type: 'q8_0', seed: 1 }), 1, path, never);
    const found = slabLayout(await readGguf(path), path);
    if (found === undefined) throw new Error(`${architecture} has no slabs`);
    layout = found;
  });

  it('computes something, with probabilities for every choice', async () => {
    const model = await open();
    const rows: number[] = [];
    model.listener = {
      probabilities: true,
      onRouted: ({ probabilities = new Float32Array() }) => rows.push(...probabilities),
    };
    expect(logitsOf(model).every(Number.isFinite)).toBe(true);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every((p) => p >= 0 && p <= 1)).toBe(true);
    model.close();
  });

  it('computes pruned what it computes masked, and with fewer slabs what it computes loaded with so few', async () => {
    const model = await open();
    const whole = logitsOf(model);
    const keep = layout.layers.map(() => KEPT);
    model.keep = keep;
    const masked = logitsOf(model);
    model.keep = undefined;
    model.slabsPerToken = 2;
    const elastic = logitsOf(model);
    model.close();
    const output = join(folder, `${architecture}-pruned.gguf`);
    const header = await readGguf(path);
    const audit = { source: 'a'.repeat(64), score: 'none', task: 'none' };
    const base = { path, header };
    await writeAssembly({ base, ...pruning(path, header, layout, keep, audit), alignment: 4096, output }, never);
    const pruned = await open(output);
    expect(largestDifference(logitsOf(pruned), masked)).toBeLessThan(1e-4);
    expect(largestDifference(masked, whole)).toBeGreaterThan(1e-4);
    pruned.close();
    const loaded = await open(path, { slabsPerToken: 2 });
    expect(logitsOf(loaded)).toEqual(elastic);
    expect(largestDifference(elastic, whole)).toBeGreaterThan(1e-4);
    loaded.close();
    const fresh = await open();
    fresh.slabsPerToken = 2;
    expect(logitsOf(fresh)).toEqual(elastic);
    fresh.close();
  });

  it('computes with a third of its slabs in memory what it computes with all of them, to the bit', async () => {
    const whole = await open();
    const expected = [...stepsOf(whole), logitsOf(whole), ...stepsOf(whole), logitsOf(whole)];
    whole.close();
    const budgetBytes = 24 * layout.slabBytes;
    // As if every token of a batch took as much of it as a third of a slab; the batch is a large one.
    const budgetOf = (tokens: number): number => budgetBytes - (tokens > 1 ? (tokens * layout.slabBytes) / 3 : 0);
    const folders = { skeletonFolder: folder };
    const prepared = await prepareSlabs({ path, layout, strategy: 'cache', budgetBytes, budgetOf, ...folders });
    const model = await open(path, { path: prepared.loadPath });
    model.residency = await prepared.attach();
    expect([...stepsOf(model), logitsOf(model), ...stepsOf(model), logitsOf(model)]).toEqual(expected);
    expect(model.residency.figures().bytesRead).toBeGreaterThan(budgetBytes);
    model.close();
  });
});
