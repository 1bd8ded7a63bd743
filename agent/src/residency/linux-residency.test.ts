import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  utimesSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { processEntry } from '@fleetgate/shared/process-entry';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { SlabModel } from '../engine/slab-model.js';
import { type SlabLayout, slabLayout } from '../gguf/slab-layout.js';
import { type LlamaLibrary, openLlamaLibrary } from '../native/llama-library.js';
import { prepareSlabs, type SlabsInMemory } from './linux-residency.js';
import type { SlabResidency } from './residency.js';
import { slabPages } from './slab-pages.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
/** `TMPFS_MAGIC` of `linux/magic.h`. */
const TMPFS = 0x01021994;
const TOKENS = Array.from({ length: 24 }, (_, i) => (i * 37 + 11) % 900);

const folder = mkdtempSync(join(tmpdir(), 'fleetgate-residency-'));
let library: LlamaLibrary;
let layout: SlabLayout;
let plainLogits: readonly Float32Array[];
let file = '';
const models: SlabModel[] = [];

beforeAll(async () => {
  library = await openLlamaLibrary();
  const found = slabLayout(await readGguf(MOE), MOE);
  if (found === undefined) throw new Error('the bundled model has slabs');
  layout = found;
  plainLogits = answers(loaded(MOE));
});
beforeEach(() => {
  file = join(folder, `model-${models.length}.gguf`);
  copyFileSync(MOE, file);
});
afterAll(() => {
  for (const model of models) model.close();
  rmSync(folder, { recursive: true });
});

function loaded(path: string): SlabModel {
  const model = SlabModel.open(library, { path, layout, contextTokens: 64, sequences: 1, threads: 1, batchTokens: 32 });
  models.push(model);
  return model;
}

/** Room for `slabs` of them, whatever the page. */
function budget(slabs: number): number {
  return slabs * Math.max(...slabPages(layout, 4096).slabBytes);
}

async function resident(options: Partial<SlabsInMemory>): Promise<{ model: SlabModel; residency: SlabResidency }> {
  const prepared = await prepareSlabs({ path: file, layout, strategy: 'cache', budgetBytes: budget(20), ...options });
  const model = loaded(prepared.loadPath);
  const residency = await prepared.attach();
  model.residency = residency;
  return { model, residency };
}

/** Logits after each token, evaluated one by one, then after the whole text at once. */
function answers(model: SlabModel): readonly Float32Array[] {
  model.forget(0, 0);
  const all = TOKENS.map((token, position) => {
    model.evaluate([{ token, position, sequence: 0, output: true }]);
    return logitsAt(model, 0);
  });
  model.forget(0, 0);
  const last = TOKENS.length - 1;
  model.evaluate(TOKENS.map((token, position) => ({ token, position, sequence: 0, output: position === last })));
  return [...all, logitsAt(model, last)];
}

function logitsAt(model: SlabModel, i: number): Float32Array {
  const out = new Float32Array(model.vocabulary);
  model.logits(i, out);
  return out;
}

describe('residency', () => {
  it.each<[string, Partial<SlabsInMemory>]>([
    ['its own cache of a third of the slabs', {}],
    ['its own cache without a skeleton', { skeletonFolder: null }],
    ['its own cache, one reader, filled by a profile', { readers: 1, frequencies: new Float64Array(64).fill(1) }],
    ['its own cache, reading ahead', { prefetch: 'always' }],
    ['hints', { strategy: 'hint' }],
    ['hints that wait', { strategy: 'hint', populate: true }],
    ['hints without a skeleton', { strategy: 'hint', skeletonFolder: null }],
  ])('computes with %s what the plain engine computes, to the bit', async (_, options) => {
    const { model, residency } = await resident(options);
    expect(answers(model)).toEqual(plainLogits);
    const figures = residency.figures();
    expect(figures.tokens).toBe(2 * TOKENS.length);
    expect(figures.hits).toBeLessThanOrEqual(figures.routed);
    if (residency.strategy === 'hint') return;
    if (options.prefetch === 'always') expect(figures.readAhead).toBeGreaterThan(0);
    expect(figures.residentBytes).toBeLessThanOrEqual(budget(20));
    expect(figures.bytesRead).toBeGreaterThan(0);
    expect(residency.figures().routed).toBe(0);
  });

  it.for(['cache', 'hint'] as const)('leaves no zeros of a skeleton in memory (%s)', async (strategy, { skip }) => {
    const cached = (path: string): number => {
      const { status, stdout } = spawnSync('fincore', ['-b', '-n', '-o', 'RES', path], { encoding: 'utf8' });
      if (status !== 0) skip('fincore is not installed');
      return Number(stdout.trim());
    };
    if (statfsSync(folder).type === TMPFS) skip('a file in memory is in memory');
    const prepared = await prepareSlabs({ path: file, layout, strategy, budgetBytes: budget(20) });
    const model = loaded(prepared.loadPath);
    expect(cached(prepared.loadPath)).toBeGreaterThan(layout.slabsBytes);
    model.residency = await prepared.attach();
    expect(cached(prepared.loadPath)).toBeLessThan(layout.otherBytes + 0.3 * layout.slabsBytes);
    expect(answers(model)).toEqual(plainLogits);
  });

  it.each(['cache', 'hint'] as const)(
    'reads ahead what it is told to expect with %s, within a bound',
    async (strategy) => {
      const { model, residency } = await resident({ strategy, budgetBytes: budget(20) });
      const expected = new Float64Array(64);
      for (const slab of [3, 17, 40]) expected[slab] = 1;
      residency.figures();
      residency.expect?.(expected, budget(2));
      // They are there, or on their way, when they are asked for.
      residency.begin(1);
      residency.ensure({ layer: 0, tokens: 1, slabsPerToken: 1, slabs: Int32Array.of(3) });
      residency.ensure({ layer: 1, tokens: 1, slabsPerToken: 1, slabs: Int32Array.of(1) });
      const { bytesRead = 0, routed } = residency.figures();
      expect(routed).toBe(2);
      if (strategy === 'cache') expect(bytesRead).toBeGreaterThan(budget(1));
      expect(bytesRead).toBeLessThanOrEqual(budget(2));
      expect(answers(model)).toEqual(plainLogits);
    },
  );

  it('loads a file with holes in the slabs’ places, made once', async () => {
    const first = await prepareSlabs({ path: file, layout, strategy: 'cache', budgetBytes: budget(20) });
    expect(first.wholeLoad).toBeUndefined();
    const made = statSync(first.loadPath);
    expect(made.size).toBe(statSync(file).size);
    expect(made.blocks * 512).toBeLessThan(made.size - 0.8 * layout.slabsBytes);
    const again = await prepareSlabs({ path: file, layout, strategy: 'hint', budgetBytes: 0 });
    expect(again.loadPath).toBe(first.loadPath);
    utimesSync(file, 1, 1);
    const changed = await prepareSlabs({ path: file, layout, strategy: 'cache', budgetBytes: budget(20) });
    expect(changed.loadPath).not.toBe(first.loadPath);
    const left = readdirSync(folder).filter((name) => join(folder, name).startsWith(`${file}.`));
    expect(left.map((name) => join(folder, name))).toEqual([changed.loadPath]);
  });

  it('refuses a batch whose slabs do not fit together, and goes on with fewer tokens', async () => {
    const { model } = await resident({ budgetBytes: budget(3) });
    expect(() => answers(model)).toThrow(expect.objectContaining({ code: 'engine.out-of-memory' }));
    model.forget(0, 0);
    model.evaluate([{ token: TOKENS[0] ?? 0, position: 0, sequence: 0, output: true }]);
    expect(logitsAt(model, 0)).toEqual(plainLogits[0]);
  });
});

describe('residency when storage misbehaves', () => {
  it.each<['hint' | 'cache']>([['cache'], ['hint']])(
    '(%s) reads on from a file that was replaced',
    async (strategy) => {
      const { model } = await resident({ strategy });
      copyFileSync(fileURLToPath(import.meta.url), `${file}.other`);
      renameSync(`${file}.other`, file);
      expect(answers(model)).toEqual(plainLogits);
    },
  );

  it.each<['hint' | 'cache']>([['cache'], ['hint']])('(%s) gives up when the file is cut off', async (strategy) => {
    const { model } = await resident({ strategy });
    truncateSync(file, Math.floor(statSync(file).size / 2));
    const failure = { code: 'artefact.unavailable', retryable: true };
    expect(() => answers(model)).toThrow(expect.objectContaining(failure));
  });

  it('gives up when what a layer uses last cannot be read, while it computes with the rest', async () => {
    const prepared = await prepareSlabs({ path: file, layout, strategy: 'cache', budgetBytes: budget(20) });
    const model = loaded(prepared.loadPath);
    const whole = await prepared.attach();
    model.residency = whole;
    // What is used last is known from here on.
    expect(answers(model)).toEqual(plainLogits);
    whole.close();
    const last = layout.layers.at(-1)?.tensors.at(-1);
    expect(last?.projection).toBe('down');
    truncateSync(file, last?.offset ?? 0);
    model.residency = await prepared.attach();
    for (const _ of [1, 2]) {
      const failure = { code: 'artefact.unavailable', retryable: true };
      expect(() => answers(model)).toThrow(expect.objectContaining(failure));
    }
  });

  it.each<['hint' | 'cache']>([['cache'], ['hint']])('(%s) gives up when the file is written to', async (strategy) => {
    const { model } = await resident({ strategy });
    utimesSync(file, 5, 5);
    expect(() => answers(model)).toThrow(expect.objectContaining({ code: 'artefact.unavailable', retryable: true }));
  });

  it('ends the process that computes with a slab which is not there', async () => {
    const entry = processEntry(import.meta.url, './linux-residency.js');
    const engine = processEntry(import.meta.url, '../engine/slab-model.js');
    const native = processEntry(import.meta.url, '../native/llama-library.js');
    const script = `
      const [{ prepareSlabs }, { SlabModel }, { openLlamaLibrary }] =
        await Promise.all([${[entry, engine, native].map((path) => `import('file://${path}')`).join(', ')}]);
      const [path, layout] = JSON.parse(process.argv[1]);
      const prepared = await prepareSlabs({ path, layout, strategy: 'cache', budgetBytes: 1e6 });
      const model = SlabModel.open(await openLlamaLibrary(), { path: prepared.loadPath, layout, contextTokens: 64,
        sequences: 1, threads: 1, batchTokens: 8 });
      await prepared.attach();
      process.stdout.write('attached');
      model.evaluate([{ token: 1, position: 0, sequence: 0, output: true }]);
      process.stdout.write(' and computed');
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify([file, layout])], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (text: Buffer) => (said += text.toString()));
    const signal = await new Promise((resolve) => child.once('close', (_, by) => resolve(by)));
    expect([said, signal]).toEqual(['attached', 'SIGSEGV']);
  });
});
