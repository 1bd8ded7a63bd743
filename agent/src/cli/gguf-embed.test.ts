import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { embeddedProfile } from '../slabs/embedded-profile.js';
import type { SlabProfile } from '../slabs/profile.js';
import { runAgentCli } from './main.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const MOE = join(EXPERTS, 'moe', 'moe-q8_0.gguf');
const DENSE = join(EXPERTS, 'math', 'math-q8_0.gguf');

let root: string;
let profile: string;
let embedded: string;
let printed: string;
let told: string;

const run = async (...argv: readonly string[]): Promise<number> => {
  [printed, told] = ['', ''];
  return runAgentCli(['gguf', ...argv]);
};
const json = async <T>(...argv: readonly string[]): Promise<T> => {
  expect(await run(...argv, '--json')).toBe(0);
  return JSON.parse(printed) as T;
};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fleetgate-'));
  [profile, embedded] = [join(root, 'profile.json'), join(root, 'embedded.gguf')];
});
afterAll(async () => {
  vi.restoreAllMocks();
  await rm(root, { recursive: true });
});
beforeEach(() => {
  vi.restoreAllMocks();
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((printed += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((told += String(text)), true));
});

describe('fleetgate gguf embed', () => {
  it('writes a copy that brings its profile along, which commands read from it', async () => {
    const texts = join(EXPERTS, 'data');
    expect(await run('profile', MOE, '--texts', texts, '--docs', '8', '--out', profile)).toBe(0);
    const made = await json<{ tasks: string[]; profileBytes: number }>(
      ...['embed', MOE, '--profile', profile, '--out', embedded],
    );
    expect(made.tasks).toEqual(['code', 'dialogue', 'finance', 'math', 'medical', 'story']);
    const before = JSON.parse(await readFile(profile, 'utf8')) as SlabProfile;
    expect(embeddedProfile(await readGguf(embedded), embedded)).toEqual(before);
    const evaluate = (file: string, from: string) =>
      json<{ bitsPerByte: number; kept: number[][] }>(
        ...['mask-eval', file, '--text', join(texts, 'math.valid.jsonl'), '--docs', '2'],
        ...['--profile', from, '--task', 'math', '--keep', '4'],
      );
    expect(await evaluate(embedded, embedded)).toEqual(await evaluate(MOE, profile));
  });

  it('evaluates each text by the task that its prompt is like, as a task mask serves it', async () => {
    const text = join(EXPERTS, 'data', 'medical.valid.jsonl');
    const evaluate = (...more: readonly string[]) =>
      json<{ bitsPerByte: number; taken: Record<string, number> }>(
        ...['mask-eval', embedded, '--text', text, '--docs', '8', '--profile', embedded, '--keep', '4', ...more],
      );
    const nearest = await evaluate('--task', 'nearest');
    expect(nearest.taken['medical']).toBeGreaterThanOrEqual(7);
    expect(nearest.bitsPerByte).toBeCloseTo((await evaluate('--task', 'medical')).bitsPerByte, 1);
    expect(nearest.bitsPerByte).toBeLessThan((await evaluate('--task', 'all')).bitsPerByte - 0.1);
    const refused = ['mask-eval', embedded, '--text', text, '--profile', embedded, '--keep', '4', '--task', 'nearest'];
    expect(await run(...refused, '--score', 'random')).toBe(2);
    expect(told).toContain('--task nearest');
  });

  it('is pruned with its profile, which is then the one of what is left', async () => {
    const out = join(root, 'pruned.gguf');
    const { kept } = await json<{ kept: number[][] }>(
      ...['prune', embedded, '--profile', embedded, '--task', 'math', '--keep', '6', '--out', out],
    );
    const whole = JSON.parse(await readFile(profile, 'utf8')) as SlabProfile;
    const left = embeddedProfile(await readGguf(out), out);
    expect(left?.model.slabsPerLayer).toBe(6);
    const expected = kept[1]?.map((slab) => whole.tasks['code']?.layers[1]?.tcess[slab]);
    expect(left?.tasks['code']?.layers[1]?.tcess).toEqual(expected);
    // It is the profile of the file that it lies in: it can be pruned by it again.
    const again = join(root, 'again.gguf');
    expect(await run('prune', out, '--profile', out, '--task', 'math', '--keep', '4', '--out', again)).toBe(0);
  });

  it.each([
    ['the profile of another model', 'is the profile of another model', 'router', () => 'f'.repeat(64)],
    ['a profile of another architecture', 'is the profile of another model', 'architecture', () => 'olmoe'],
    ['a profile of fewer slabs', 'is the profile of another model', 'slabsPerLayer', () => 8],
  ])('refuses %s', async (_, message, field, value) => {
    const made = JSON.parse(await readFile(profile, 'utf8')) as SlabProfile;
    const other = join(root, 'other.json');
    await writeFile(other, JSON.stringify({ ...made, model: { ...made.model, [field]: value() } }));
    expect(await run('embed', MOE, '--profile', other, '--out', join(root, 'no.gguf'))).toBe(2);
    expect(told).toContain(message);
  });

  it('refuses a dense model, itself as the output, and a model without a profile', async () => {
    expect(await run('embed', DENSE, '--profile', profile, '--out', join(root, 'no.gguf'))).toBe(2);
    expect(told).toContain('dense');
    expect(await run('embed', MOE, '--profile', profile, '--out', MOE)).toBe(2);
    expect(await run('embed', MOE, '--profile', MOE, '--out', join(root, 'no.gguf'))).toBe(2);
    expect(told).toContain('brings no profile along');
  });
});
