import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { ExpertView, VariantView } from '@fleetgate/shared/api/operations';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { silentLogger } from '@fleetgate/shared/logger';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { writeLora } from '../../../agent/src/gguf/lora.fixture.js';
import { loadConfig } from '../config/config.js';
import { type RunningController, startController } from '../main.js';
import { runCli } from './main.js';

const MOE = fileURLToPath(new URL('../../../experts/moe/moe-q8_0.gguf', import.meta.url));
const MATH = fileURLToPath(new URL('../../../experts/math/math-q8_0.gguf', import.meta.url));
const SHA256 = createHash('sha256').update(readFileSync(MOE)).digest('hex');

let folder: string;
let controller: RunningController;
let [printed, told] = ['', ''];

const run = async (...argv: readonly string[]): Promise<number> => {
  [printed, told] = ['', ''];
  return runCli(['experts', ...argv, '--url', controller.httpUrl]);
};
const json = async <T>(...argv: readonly string[]): Promise<T> => {
  expect(await run(...argv, '--json')).toBe(0);
  return JSON.parse(printed) as T;
};
const namesOf = async (expert: string): Promise<readonly string[]> =>
  (await json<ExpertView>('show', expert)).variants.map(({ id }) => id);

/** A catalogue as `gguf variants` writes it: the source, a build that was written and one that was not. */
function writeCatalogue(place: string, sha256: string): void {
  mkdirSync(place, { recursive: true });
  copyFileSync(MOE, join(place, 'k1.gguf'));
  const figures = {
    bitsPerByte: { math: 1 },
    loss: { math: 0.02 },
    sizeBytes: 1,
    activeBytes: 1,
    decodeJPerToken: 0.5,
  };
  const build = { how: '1 of 2 active slabs', scope: 'math', types: {}, elastic: [], ...figures };
  const catalogue = {
    schema: 'fleetgate-variants/1',
    source: { file: 'moe', sha256, sizeBytes: 1, bitsPerByte: { math: 1 }, slabsPerLayer: 16, slabsPerToken: 2 },
    board: 'raspberry-pi-5',
    energy: 'modelled',
    genes: [{ name: 'k', choices: ['2', '1'] }],
    search: { seed: 1, evaluations: 2, searchTexts: 1, heldOutTexts: 1, hypervolume: {} },
    variants: [
      { ...build, name: 'source', genome: [0] },
      { ...build, name: 'moe-k1', genome: [1], slabsPerToken: 1, file: 'k1.gguf' },
      { ...build, name: 'moe-unwritten', genome: [1], slabsPerToken: 1 },
    ],
  };
  writeFileSync(join(place, 'variants.json'), JSON.stringify(catalogue));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-experts-'));
  const flags = { dataDir: join(folder, 'controller'), httpPort: 0, mqttPort: 0, outcomesPath: join(folder, 'none') };
  controller = await startController(loadConfig({ flags, environment: {} }), { log: silentLogger });
});
afterAll(async () => {
  vi.restoreAllMocks();
  await controller.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  vi.restoreAllMocks();
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((printed += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((told += String(text)), true));
});

describe('fleetgate experts offload, add-variant, remove-variant', () => {
  it('makes a variant of part of the slabs, and takes it away again', async () => {
    const made = await json<VariantView>('offload', 'moe', '--resident', '50%', '--name', 'moe-half');
    const [whole] = (await json<ExpertView>('show', 'moe')).variants;
    expect(made).toMatchObject({ id: 'moe-half', sha256: SHA256, made: { from: whole?.id, loss: {} } });
    const slabsBytes = whole?.facts.slabsBytes ?? 0;
    expect((made.serving?.slabBudgetBytes ?? 0) / slabsBytes).toBeCloseTo(0.5, 3);
    expect(made.facts.memoryBytes).toBeLessThan((whole?.facts.memoryBytes ?? 0) - 0.4 * slabsBytes);
    expect(await run('offload', 'moe', '--resident', '50%', '--name', 'moe-half')).toBe(2);
    expect(told).toContain('moe-half');
    expect(await run('remove-variant', 'moe-half')).toBe(0);
    expect(await namesOf('moe')).not.toContain('moe-half');
  });

  it('adds fewer active slabs with what they cost, and not without', async () => {
    expect(await run('add-variant', 'moe', '--k', '1', '--name', 'moe-one')).toBe(2);
    expect(told).toMatch(/loss/);
    const made = await json<VariantView>('add-variant', 'moe', '--k', '1', '--name', 'moe-one', '--loss', 'math=0.03');
    expect(made).toMatchObject({ serving: { slabsPerToken: 1 }, made: { loss: { math: 0.03 } } });
    expect(await run('remove-variant', 'moe-one')).toBe(0);
  });

  it('lays an adapter over the file, which devices can fetch', async () => {
    const adapter = join(folder, 'Poet.gguf');
    writeLora(adapter, await readGguf(MATH), ['blk.0.attn_q.weight', 'blk.1.ffn_down.weight']);
    expect(await run('add-variant', 'math', '--adapter', adapter)).toBe(2);
    expect(told).toMatch(/loss/);
    const made = await json<VariantView>('add-variant', 'math', '--adapter', `${adapter}@0.5`, '--loss', 'math=0.1');
    const [kept] = made.serving?.adapters ?? [];
    expect(made).toMatchObject({ id: 'poet', made: { how: 'adapter Poet.gguf x 0.5', loss: { math: 0.1 } } });
    expect(kept).toMatchObject({ scale: 0.5, sizeBytes: readFileSync(adapter).length });
    const answer = await fetch(`${controller.httpUrl}/api/v1/artefacts/${kept?.sha256}`);
    expect(Buffer.from(await answer.arrayBuffer()).equals(readFileSync(adapter))).toBe(true);
    expect(await run('remove-variant', 'poet')).toBe(0);
    expect(await run('add-variant', 'moe', '--adapter', adapter, '--loss', 'math=0.1')).toBe(2);
    expect(told).toMatch(/cannot be laid over .*: it is for architecture llama/);
  });

  it.each([
    ['an expert that is not there', ['offload', 'nobody', '--resident', '50%'], 'nobody'],
    ['a dense expert', ['offload', 'math', '--resident', '50%'], 'dense'],
    ['more than all slabs', ['offload', 'moe', '--resident', '150%'], '150%'],
    ['less than a token needs', ['offload', 'moe', '--resident', '1KB'], 'slabBudgetBytes'],
    ['the original as if it were made', ['remove-variant', 'moe-q8_0'], 'moe-q8_0'],
  ])('says what is wrong with %s', async (_, argv, what) => {
    expect(await run(...argv)).not.toBe(0);
    expect(told).toContain(what);
  });
});

describe('fleetgate experts import', () => {
  it('adds the builds of a catalogue that were written, once', async () => {
    const place = join(folder, 'catalogue');
    writeCatalogue(place, SHA256);
    const first = await json<{ added: VariantView[]; skipped: { name: string; reason: string }[] }>(
      'import',
      'moe',
      place,
    );
    expect(first.added).toMatchObject([
      { id: 'moe-k1', serving: { slabsPerToken: 1 }, made: { loss: { math: 0.02 } } },
    ]);
    expect(first.skipped.map(({ name }) => name)).toEqual(['source', 'moe-unwritten']);
    const again = await json<typeof first>('import', 'moe', join(place, 'variants.json'));
    expect(again.added).toEqual([]);
    expect(again.skipped.find(({ name }) => name === 'moe-k1')?.reason).toMatch(/there already/);
    expect(await run('remove-variant', 'moe-k1')).toBe(0);
  });

  it('refuses a catalogue of another model, and what is none', async () => {
    const place = join(folder, 'other');
    writeCatalogue(place, 'f'.repeat(64));
    expect(await run('import', 'moe', place)).toBe(2);
    expect(told).toMatch(/which moe has no variant of/);
    writeFileSync(join(place, 'variants.json'), '{}');
    expect(await run('import', 'moe', place)).toBe(2);
    expect(await run('import', 'moe', join(folder, 'nowhere'))).toBe(2);
    expect(told).toMatch(/cannot be read as a catalogue/);
  });
});
