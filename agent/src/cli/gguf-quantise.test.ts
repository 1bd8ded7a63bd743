import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { elasticRecordSchema } from '@fleetgate/shared/catalogue/variant-catalogue';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { registerGgufElastic } from './gguf-elastic.js';
import { registerGgufQuantise } from './gguf-quantise.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MOE = join(ROOT, 'experts/moe/moe-q8_0.gguf');
const DENSE = join(ROOT, 'experts/math/math-q8_0.gguf');
const TEXTS = join(ROOT, 'experts/data');
const MATH = join(TEXTS, 'math.valid.jsonl');

interface Result {
  readonly sizeBytes: number;
  readonly bitsPerWeight: number;
  readonly types: Readonly<Record<string, string>>;
  readonly expectedLoss: number | null;
  readonly leastLoss: number | null;
  readonly bitsPerByte: { readonly before: Record<string, number>; readonly after: Record<string, number> } | null;
  readonly notes: readonly string[];
}

let folder: string;
let printed: string;
let told: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  printed = told = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    told += String(text);
    return true;
  });
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

async function run(...command: string[]): Promise<unknown> {
  printed = '';
  const program = new Command().exitOverride();
  for (const register of [registerGgufQuantise, registerGgufElastic]) register(program);
  for (const one of program.commands) one.exitOverride();
  await program.parseAsync([...command, '--json'], { from: 'user' });
  return JSON.parse(printed);
}

const mean = (bits: Readonly<Record<string, number>> | undefined): number => {
  const values = Object.values(bits ?? {});
  return values.reduce((sum, value) => sum + value, 0) / values.length;
};

describe('fleetgate gguf quantise', () => {
  it('stores all weights in one type and measures what that costs', async () => {
    const out = join(folder, 'q4.gguf');
    const result = (await run(
      'quantise',
      DENSE,
      '--out',
      out,
      '--type',
      'q4_0',
      '--texts',
      TEXTS,
      '--docs',
      '2',
    )) as Result;
    expect(result).toMatchObject({ bitsPerWeight: 4.5, types: { all: 'q4_0' }, expectedLoss: null });
    const written = await readGguf(out);
    expect(written.fileBytes).toBe(result.sizeBytes);
    expect(written.metadata.get('general.file_type')?.value).toBe(2);
    expect(written.metadata.get('fleetgate.variant.how')?.value).toBe('all q4_0');
    const { before, after } = result.bitsPerByte ?? {};
    expect(mean(after)).not.toBe(mean(before));
    expect(Math.abs(mean(after) - mean(before))).toBeLessThan(0.1);
    expect(await readdir(folder)).toEqual(['q4.gguf']);
  });

  it('chooses types by what each group loses, within the budget, and keeps what it measured', async () => {
    const [out, known] = [join(folder, 'mixed.gguf'), join(folder, 'sensitivity.json')];
    const measured = ['--types', 'q4_0', '--texts', MATH, '--docs', '1'];
    const first = (await run(
      'quantise',
      MOE,
      '--out',
      out,
      '--budget',
      '4MB',
      '--sensitivity',
      known,
      ...measured,
    )) as Result;
    expect(first.sizeBytes).toBeLessThanOrEqual(4e6);
    expect(first.leastLoss).toBe(first.expectedLoss);
    expect(new Set(Object.values(first.types))).toEqual(new Set(['q8_0', 'q4_0']));
    expect(told).toContain('17 of 17');
    told = '';
    const again = (await run(
      'quantise',
      MOE,
      '--out',
      out,
      '--bits',
      '6',
      '--types',
      'q4_0',
      '--sensitivity',
      known,
    )) as Result;
    expect(again.bitsPerWeight).toBeLessThanOrEqual(6);
    expect(again.bitsPerByte).toBeNull();
    expect(told).not.toContain('17 of 17');
    const other = run('quantise', DENSE, '--out', out, '--bits', '6', '--types', 'q4_0', '--sensitivity', known);
    await expect(other).rejects.toMatchObject({
      code: 'usage.invalid',
      message: expect.stringContaining('another model'),
    });
  });

  it('says what is wrong with what was asked for', async () => {
    const out = ['--out', join(folder, 'x.gguf')];
    const broken = join(folder, 'broken.gguf');
    await writeFile(broken, (await readFile(DENSE)).subarray(0, 100_000));
    await expect(run('quantise', DENSE, ...out)).rejects.toMatchObject({ code: 'usage.invalid' });
    await expect(run('quantise', DENSE, ...out, '--type', 'q9')).rejects.toMatchObject({ code: 'usage.invalid' });
    await expect(run('quantise', DENSE, ...out, '--bits', '5')).rejects.toMatchObject({
      code: 'usage.invalid',
      hint: expect.stringContaining('--texts'),
    });
    await expect(run('quantise', broken, ...out, '--type', 'q4_0')).rejects.toMatchObject({ code: 'gguf.malformed' });
    const narrow = ['--types', 'q4_0', '--texts', MATH, '--docs', '1'];
    await expect(run('quantise', DENSE, ...out, '--budget', '100KB', ...narrow)).rejects.toMatchObject({
      code: 'usage.invalid',
      message: expect.stringContaining('at least'),
    });
    expect(await readdir(folder)).toEqual(['broken.gguf']);
  });
});

describe('fleetgate gguf elastic', () => {
  it('measures every number of active slabs, and refuses a dense model', async () => {
    const out = join(folder, 'elastic.json');
    const record = elasticRecordSchema.parse(await run('elastic', MOE, '--texts', TEXTS, '--docs', '2', '--out', out));
    expect(record).toEqual(JSON.parse(await readFile(out, 'utf8')));
    expect(record.steps.map(({ slabsPerToken }) => slabsPerToken)).toEqual([2, 1]);
    const [two, one] = record.steps;
    expect(mean(two?.loss)).toBe(0);
    expect(mean(one?.loss)).toBeGreaterThan(0.1);
    expect(one?.activeBytes).toBeLessThan(two?.activeBytes ?? 0);
    expect(two?.decodeTokensPerS).toBeGreaterThan(1);
    await expect(run('elastic', DENSE, '--texts', TEXTS)).rejects.toMatchObject({ code: 'usage.invalid' });
  });
});
