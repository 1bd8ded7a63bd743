import { copyFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Serving } from '@fleetgate/shared/catalogue/serving';
import { heatShares, type SlabHeat } from '@fleetgate/shared/catalogue/slab-heat';
import { slabMaskOf } from '@fleetgate/shared/catalogue/slab-mask';
import { systemClock } from '@fleetgate/shared/clock';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Engine, EngineModel, LoadedModel } from '../engine/engine.js';
import { createLlamaEngine } from '../engine/llama-engine.js';
import { runAgentCli } from './main.js';
import { readTexts } from './slab-texts.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const MOE = join(EXPERTS, 'moe', 'moe-q8_0.gguf');
const DATA = join(EXPERTS, 'data');
const TASKS = ['code', 'dialogue', 'finance', 'math', 'medical', 'story'];
const SLAB_BYTES = 78_336;
const SLABS_BYTES = 4 * 16 * SLAB_BYTES;
const never = new AbortController().signal;
const GREEDY = { maxTokens: 24, temperature: 0, topP: 1, stop: [] };

let root: string;
let embedded: string;
let engine: Engine;
const engines: Engine[] = [];

const quiet = (): void => {
  vi.restoreAllMocks();
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
};
const gguf = async (...argv: readonly string[]): Promise<void> => {
  expect(await runAgentCli(['gguf', ...argv])).toBe(0);
};
const open = (sequences = 2): Engine => {
  const options = { threads: 1, sequences, gpu: 'off', hosts: 'slabs' } as const;
  const made = createLlamaEngine({ ...options, watchdog: milliseconds(10_000), log: silentLogger, clock: systemClock });
  engines.push(made);
  return made;
};
let loads = 0;
const load = async (
  into: Engine,
  path: string,
  serving?: Serving,
): Promise<EngineModel & Pick<LoadedModel, 'residency'>> => {
  const name = variantId(`moe-${loads++}`);
  const model = { variantId: name, path, contextTokens: 320, stop: [], ...(serving === undefined ? {} : { serving }) };
  const { residency } = await into.load(model, never);
  return { ...model, ...(residency === undefined ? {} : { residency }) };
};
const answer = async (from: Engine, { variantId: id }: EngineModel, prompt: string) => {
  let text = '';
  const input = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: prompt }] };
  const onText = (piece: string): void => void (text += piece);
  const result = await from.generate(id, input, GREEDY, onText, never, { confidence: true });
  return { text, result };
};
/** Held out: the profile is of the training texts. */
const prompts = async (task: string, count: number): Promise<readonly string[]> =>
  (await readTexts(join(DATA, `${task}.valid.jsonl`), count)).map((text) => ('prompt' in text ? text.prompt : ''));

beforeAll(async () => {
  quiet();
  root = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  const texts = await mkdtemp(join(root, 'texts-'));
  for (const task of TASKS) await symlink(join(DATA, `${task}.train.jsonl.gz`), join(texts, `${task}.jsonl.gz`));
  const profile = join(root, 'profile.json');
  embedded = join(root, 'embedded.gguf');
  await gguf('profile', MOE, '--texts', texts, '--docs', '30', '--out', profile);
  await gguf('embed', MOE, '--profile', profile, '--out', embedded);
  engine = open();
});
beforeEach(quiet);
afterAll(async () => {
  vi.restoreAllMocks();
  for (const one of engines) await one.close();
  await rm(root, { recursive: true });
});

describe('a model that knows the patterns of its tasks', () => {
  it('tells the task of nearly every held-out prompt, and answers to the last bit as with all slabs in memory', async () => {
    const whole = await load(engine, MOE);
    const part = await load(engine, embedded, { slabBudgetBytes: 0.5 * SLABS_BYTES });
    let right = 0;
    for (const task of TASKS) {
      for (const prompt of await prompts(task, 5)) {
        const [here, there] = [await answer(engine, part, prompt), await answer(engine, whole, prompt)];
        expect(here.text).toBe(there.text);
        expect(here.result.meanLogProb).toBe(there.result.meanLogProb);
        if (here.result.pattern?.task === task) right++;
        expect(there.result.pattern).toBeUndefined();
      }
    }

    expect(right).toBeGreaterThanOrEqual(28);
  });

  it('answers with a task mask as a file pruned to the slabs of the task', async () => {
    const masked = await load(engine, embedded, { taskMask: { keep: 4 } });
    expect(masked.residency?.reason).toContain('answers use 4 slabs of each layer');
    let same = 0;
    for (const task of ['medical', 'math']) {
      const out = join(root, `${task}.gguf`);
      await gguf('prune', MOE, '--profile', embedded, '--task', task, '--keep', '4', '--out', out);
      const pruned = await load(engine, out);
      for (const prompt of await prompts(task, 3)) {
        const [here, there] = [await answer(engine, masked, prompt), await answer(engine, pruned, prompt)];
        expect(here.result.pattern).toMatchObject({ task, keep: 4 });
        // Equal but for rounding, which decides where two tokens are as likely.
        const score = async ({ variantId: id }: EngineModel): Promise<readonly number[]> =>
          (await engine.score(id, prompt, there.text, never, { detail: 'tokens' })).tokenBits ?? [];
        const [masking, pruning] = [await score(masked), await score(pruned)];
        expect(masking).toHaveLength(pruning.length);
        for (const [i, bits] of pruning.entries()) expect(masking[i]).toBeCloseTo(bits, 2);
        same += here.text === there.text ? 1 : 0;
      }
    }
    expect(same).toBeGreaterThanOrEqual(4);
  });

  it('answers with a fixed mask as the file pruned to its slabs, and tells how often slabs are chosen', async () => {
    const out = join(root, 'kept.gguf');
    await gguf('prune', MOE, '--profile', embedded, '--task', 'math', '--keep', '4', '--out', out);
    const { metadata } = await readGguf(out);
    const keep = Array.from({ length: 4 }, (_, layer) => {
      const kept = metadata.get(`fleetgate.prune.kept.${layer}`)?.value;
      return typeof kept === 'object' ? (kept.elements ?? []).map(Number) : [];
    });
    const slabBudgetBytes = 16 * SLAB_BYTES;
    const masked = await load(engine, MOE, { slabMask: slabMaskOf(keep, 16), slabBudgetBytes });
    expect(masked.residency?.reason).toContain('answers use 4 to 4 slabs of each layer');
    const pruned = await load(engine, out);
    const bitsOf = async ({ variantId: id }: EngineModel, prompt: string): Promise<number> =>
      (await engine.score(id, prompt, ' The answer is 7.', never)).bits;
    const whole = await load(engine, MOE);
    const part = await load(engine, MOE, { slabBudgetBytes });
    for (const prompt of await prompts('math', 3)) {
      const expected = await bitsOf(pruned, prompt);
      // But for rounding.
      expect((await bitsOf(masked, prompt)) / expected).toBeCloseTo(1, 2);
      expect((await bitsOf(whole, prompt)) / expected).not.toBeCloseTo(1, 2);
      const wishes = { slabMask: slabMaskOf(keep, 16) };
      // Of a model that looks after its slabs, one score at a time.
      const { bits } = await engine.score(part.variantId, prompt, ' The answer is 7.', never, wishes);
      expect(bits / expected).toBeCloseTo(1, 2);
      expect((await bitsOf(part, prompt)) / (await bitsOf(whole, prompt))).toBeCloseTo(1, 2);
    }

    let heat: SlabHeat | undefined;
    for (const prompt of await prompts('math', 40)) heat = (await answer(engine, masked, prompt)).result.heat ?? heat;
    if (heat === undefined) throw new Error('expected to be told how often slabs were chosen');
    const shares = heatShares(heat);
    expect(shares).toHaveLength(4);
    for (const [layer, share] of shares.entries()) {
      const chosen = [...share.entries()].filter(([, of]) => of > 0).map(([slab]) => slab);
      expect(keep[layer]).toEqual(expect.arrayContaining(chosen));
    }
  });

  it('answers prompts of several tasks at once as it answers each alone, with a task mask and without', async () => {
    for (const serving of [{ taskMask: { keep: 3 } }, { slabBudgetBytes: 0.3 * SLABS_BYTES }]) {
      const model = await load(engine, embedded, serving);
      const asked = (await Promise.all(TASKS.map((task) => prompts(task, 1)))).flat();
      const alone = [];
      for (const prompt of asked) alone.push(await answer(engine, model, prompt));
      const together = await Promise.all(asked.map((prompt) => answer(engine, model, prompt)));
      expect(together.map(({ text }) => text)).toEqual(alone.map(({ text }) => text));
      expect(together.map(({ result }) => result.pattern)).toEqual(alone.map(({ result }) => result.pattern));
    }
  });

  it('takes no pattern for a text that is like none of its tasks', async () => {
    const model = await load(engine, embedded, { taskMask: { keep: 4 } });
    const whole = await load(engine, MOE);
    const foreign = 'SELECT a, b FROM t WHERE x = 3 ORDER BY y;';
    const [here, there] = [await answer(engine, model, foreign), await answer(engine, whole, foreign)];
    expect(here.result.pattern).toBeUndefined();
    expect(here.text).toBe(there.text);
    expect(here.result.meanLogProb).toBe(there.result.meanLogProb);
  });

  it('reads fewer slabs for its first answer where its memory is filled by the profile, fewest by that of the task', async () => {
    const slabBudgetBytes = Math.floor(0.4 * SLABS_BYTES);
    const read = async (path: string, serving: Serving, prompt: string): Promise<number> => {
      const one = open(1);
      const model = await load(one, path, serving);
      const { slabs } = (await answer(one, model, prompt)).result;
      await one.close();
      return slabs?.bytesRead ?? NaN;
    };
    const plain = join(root, 'plain.gguf');
    await copyFile(MOE, plain);
    const total = { unseeded: 0, all: 0, task: 0 };
    for (const task of ['medical', 'finance', 'story']) {
      const [prompt = ''] = await prompts(task, 1);
      total.unseeded += await read(plain, { slabBudgetBytes }, prompt);
      total.all += await read(embedded, { slabBudgetBytes }, prompt);
      total.task += await read(embedded, { slabBudgetBytes, task }, prompt);
    }
    expect(total.all).toBeLessThan(total.unseeded);
    expect(total.task).toBeLessThan(total.all);
  });

  it('does without a profile of another model and says so, but for a task mask it refuses it', async () => {
    const bytes = await readFile(embedded);
    const at = bytes.indexOf('"router":"') + '"router":"'.length;
    bytes.fill('f', at, at + 64);
    const other = join(root, 'other.gguf');
    await writeFile(other, bytes);
    const model = { variantId: variantId('moe-other'), path: other, contextTokens: 320, stop: [] };
    const loaded = await engine.load({ ...model, serving: { slabBudgetBytes: 2e6 } }, never);
    expect(loaded.residency).toMatchObject({ strategy: 'cache' });
    expect(loaded.residency?.reason).toContain('its profile is not used');
    expect(loaded.residency?.reason).toContain('profile of another model');
    expect((await answer(engine, model, 'What is 3 and 4?')).result.pattern).toBeUndefined();
    await expect(load(engine, other, { taskMask: { keep: 4 } })).rejects.toMatchObject({ code: 'gguf.malformed' });
  });

  it.each([
    ['a task mask for a file without a profile', () => MOE, { taskMask: { keep: 4 } }, 'gguf.unsupported'],
    ['a task that the profile does not know', () => embedded, { slabBudgetBytes: 2e6, task: 'law' }, 'usage.invalid'],
    ['a mask of another model', () => MOE, { slabMask: ['ffff'] }, 'gguf.unsupported'],
    [
      'a fixed mask of fewer slabs than a token uses',
      () => MOE,
      { slabMask: Array(4).fill('8000') },
      'gguf.unsupported',
    ],
    ['a mask of fewer slabs than a token uses', () => embedded, { taskMask: { keep: 1 } }, 'usage.invalid'],
  ])('refuses %s', async (_, path, serving, code) => {
    await expect(load(engine, path(), serving)).rejects.toMatchObject({ code });
  });
});
