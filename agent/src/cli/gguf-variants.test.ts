import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { type VariantCatalogue, variantCatalogueSchema } from '@fleetgate/shared/catalogue/variant-catalogue';
import { readGguf, readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { digestOf } from '../artefacts/disk-digest.js';
import { registerGgufVariants } from './gguf-variants.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MOE = join(ROOT, 'experts/moe/moe-q8_0.gguf');
const SMALL = ['--docs', '1', '--held-out', '2', '--types', 'q4_0', '--keep', '16', '--layer-groups', '1'];

let folder: string;
/** Two tasks. */
let texts: string;
let printed = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  texts = join(folder, 'texts');
  await mkdir(texts);
  for (const task of ['code', 'story']) {
    await copyFile(join(ROOT, `experts/data/${task}.valid.jsonl`), join(texts, `${task}.jsonl`));
  }
});
afterAll(async () => rm(folder, { recursive: true }));
beforeEach(() => {
  printed = '';
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

const argumentsFor = (out: string, more: readonly string[]): string[] => [
  ...['variants', MOE, '--texts', texts, '--board', 'raspberry-pi-5', '--out', join(folder, out)],
  ...[...SMALL, '--json', ...more],
];

async function variants(out: string, ...more: string[]): Promise<VariantCatalogue> {
  printed = '';
  const program = new Command().exitOverride();
  registerGgufVariants(program);
  await program.parseAsync(argumentsFor(out, more), { from: 'user' });
  return variantCatalogueSchema.parse(JSON.parse(printed));
}

function withoutSpeed({ variants, ...catalogue }: VariantCatalogue): object {
  return { ...catalogue, variants: variants.map((one) => ({ ...one, decodeTokensPerS: undefined })) };
}

async function measurements(out: string): Promise<number> {
  const log = JSON.parse(await readFile(join(folder, out, 'search.json'), 'utf8')) as { measured: object };
  return Object.keys(log.measured).filter((key) => key.startsWith('search')).length;
}

describe('fleetgate gguf variants', () => {
  it('finds what measuring every build finds, offers nothing that is beaten, and builds what it offers', async () => {
    const all = await variants('all', '--method', 'exhaustive', '--budget-evals', '100', '--build', '0');
    expect(all.search.evaluations).toBe(2 * 2 ** 3);
    const found = await variants('found', '--budget-evals', '12', '--build', '2');
    expect(found.search.evaluations).toBe(12);
    const [share = 0] = Object.entries(found.search.hypervolume).map(
      ([scope, v]) => v / (all.search.hypervolume[scope] ?? 1),
    );
    expect(share).toBeGreaterThan(0.99);

    const mean = ({ bitsPerByte }: { readonly bitsPerByte: Readonly<Record<string, number>> }): number =>
      Object.values(bitsPerByte).reduce((sum, value) => sum + value, 0);
    for (const one of found.variants) {
      const beaten = found.variants.some(
        (other) =>
          other !== one &&
          mean(other) <= mean(one) &&
          other.sizeBytes <= one.sizeBytes &&
          other.decodeJPerToken <= one.decodeJPerToken,
      );
      expect(beaten, one.name).toBe(false);
      expect(Object.keys(one.loss)).toEqual(['code', 'story']);
      expect(one.genome.map((choice, i) => found.genes[i]?.choices[choice])).not.toContain(undefined);
    }
    const built = found.variants.flatMap(({ file, sha256, sizeBytes, elastic, slabsPerToken }) =>
      file === undefined ? [] : [{ path: join(folder, 'found', file), sha256, sizeBytes, elastic, slabsPerToken }],
    );
    expect(built).toHaveLength(2);
    for (const { path, sha256, sizeBytes, elastic, slabsPerToken } of built) {
      expect(await digestOf(path, new AbortController().signal)).toBe(sha256);
      expect((await readModelFacts(path)).fileBytes).toBe(sizeBytes);
      expect(elastic.map((step) => step.slabsPerToken)).toEqual(slabsPerToken === 1 ? [] : [1]);
    }
    expect((await readdir(join(folder, 'found'))).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('goes on where it was killed, and finds what it finds in one go', async () => {
    const child = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { Command } from 'commander';
         const { registerGgufVariants } = await import(${JSON.stringify(join(ROOT, 'agent/dist/cli/gguf-variants.js'))});
         const program = new Command();
         registerGgufVariants(program);
         await program.parseAsync(${JSON.stringify(argumentsFor('killed', ['--budget-evals', '10']))}, { from: 'user' });`,
      ],
      { cwd: join(ROOT, 'agent'), stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let told = '';
    for await (const text of child.stderr) {
      told += String(text);
      if (told.includes('all: 4 of 10')) break;
    }
    await expect(variants('killed', '--budget-evals', '10')).rejects.toMatchObject({ code: 'data-dir.in-use' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(join(folder, 'killed', 'variants.json'))).toBe(false);
    const before = await measurements('killed');
    expect(before).toBeGreaterThanOrEqual(4);

    await expect(variants('killed', '--budget-evals', '10')).rejects.toMatchObject({
      code: 'usage.invalid',
      hint: expect.stringContaining('--resume'),
    });
    await expect(variants('killed', '--budget-evals', '10', '--resume', '--docs', '2')).rejects.toMatchObject({
      code: 'usage.invalid',
      message: expect.stringContaining('other options'),
    });
    const resumed = await variants('killed', '--budget-evals', '10', '--resume', '--build', '1');
    expect(await measurements('killed')).toBe(10);
    const straight = await variants('straight', '--budget-evals', '10', '--build', '1');
    expect(withoutSpeed(resumed)).toEqual(withoutSpeed(straight));
    const left = await readdir(join(folder, 'killed'));
    expect(left.filter((name) => name.startsWith('.') || name.endsWith('.part'))).toEqual([]);
  });

  it('keeps slabs for all tasks or for each, and writes which', async () => {
    const found = await variants(
      'tasks',
      ...['--keep', '4', '--types', 'q8_0', '--per-task', '--docs', '3', '--build', '9', '--max-loss', '3'],
    );
    expect(Object.keys(found.search.hypervolume)).toEqual(['all', 'code', 'story']);
    const pruned = new Map(
      found.variants.flatMap((one) => (one.keep === 4 && one.slabsPerToken === undefined ? [[one.scope, one]] : [])),
    );
    const [all, code, story] = ['all', 'code', 'story'].map((scope) => pruned.get(scope));
    // Slabs of this model come in pairs, one for each domain: four are enough for two tasks.
    expect(all?.loss['code']).toBeLessThan(0.1);
    expect(all?.loss['story']).toBeLessThan(0.1);
    expect(code?.loss['code']).toBeLessThan(0.05);
    expect(code?.loss['story']).toBeGreaterThan(0.1);
    expect(story?.loss['code']).toBeGreaterThan(0.1);
    for (const { scope, file } of pruned.values()) {
      const { metadata } = await readGguf(join(folder, 'tasks', file ?? ''));
      expect(metadata.get('qwen3moe.expert_count')?.value).toBe(4);
      expect(metadata.get('fleetgate.prune.kept.3')?.value).toMatchObject({ length: 4 });
      expect(file).toContain(scope);
    }
  });

  it('refuses a board that is not known, and one that no build fits on', async () => {
    await expect(variants('none', '--max-bytes', '1MB')).rejects.toMatchObject({
      code: 'usage.invalid',
      message: expect.stringContaining('smallest build'),
    });
    const nowhere = argumentsFor('none', []).map((one) => (one === 'raspberry-pi-5' ? 'abacus' : one));
    const program = new Command().exitOverride();
    registerGgufVariants(program);
    await expect(program.parseAsync(nowhere, { from: 'user' })).rejects.toMatchObject({ code: 'board.unknown' });
  });
});
