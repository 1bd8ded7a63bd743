import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import type { SlabProfile } from '../slabs/profile.js';
import { runAgentCli } from './main.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const MOE = join(EXPERTS, 'moe', 'moe-q8_0.gguf');
const DENSE = join(EXPERTS, 'math', 'math-q8_0.gguf');
const textsOf = (task: string): string => join(EXPERTS, 'data', `${task}.valid.jsonl`);

/**
 * Bits per byte of the first 60 validation documents, computed in another framework (torch, float32): with all slabs, and
 * with the most chosen ones on those documents. From the model card of the bundled mixture.
 */
const REFERENCE: readonly (readonly [task: string, byKeep: Readonly<Record<number, number>>])[] = [
  ['finance', { 16: 1.165, 12: 1.164, 8: 1.165, 4: 1.165, 2: 1.143 }],
  ['dialogue', { 16: 0.681, 12: 0.679, 8: 0.677, 4: 0.666, 2: 0.648 }],
];

let root: string;
let printed: string;
let told: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fleetgate-'));
});
afterAll(async () => {
  vi.restoreAllMocks();
  await rm(root, { recursive: true });
});
beforeEach(() => {
  vi.restoreAllMocks();
  [printed, told] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((printed += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((told += String(text)), true));
});

const run = async (...argv: readonly string[]): Promise<number> => {
  [printed, told] = ['', ''];
  return runAgentCli(['gguf', ...argv]);
};
const json = async <T>(...argv: readonly string[]): Promise<T> => {
  expect(await run(...argv, '--json')).toBe(0);
  return JSON.parse(printed) as T;
};
const maskEval = (task: string, ...more: readonly string[]) =>
  json<{ bitsPerByte: number; tokens: number; kept: number[][] | null }>(
    'mask-eval',
    MOE,
    '--text',
    textsOf(task),
    '--docs',
    '60',
    ...more,
  );

describe('fleetgate gguf', () => {
  it('inspects a mixture and a dense model', async () => {
    expect(await json('inspect', MOE)).toMatchObject({
      facts: { architecture: 'qwen3moe' },
      slabs: { layers: [0, 1, 2, 3], slabsPerLayer: 16, slabsPerToken: 2, bytesPerToken: 8 * 78_336 },
    });
    expect(await json('inspect', DENSE)).toMatchObject({ slabs: null });
    expect(await run('inspect', textsOf('math'))).toBe(2);
    expect(told).toContain('gguf.malformed');
  });

  describe('with a profile', () => {
    let profile: string;
    beforeAll(async () => {
      profile = join(root, 'profile.json');
      vi.spyOn(process.stdout, 'write').mockReturnValue(true);
      vi.spyOn(process.stderr, 'write').mockReturnValue(true);
      expect(
        await runAgentCli(['gguf', 'profile', MOE, '--texts', join(EXPERTS, 'data'), '--docs', '60', '--out', profile]),
      ).toBe(0);
    });
    const keeping = (task: string, keep: number, score: string): readonly string[] => [
      ...['--profile', profile, '--task', task],
      ...['--keep', String(keep), '--score', score],
    ];

    it('counts every choice of every task', async () => {
      const { tasks, model } = JSON.parse(await readFile(profile, 'utf8')) as SlabProfile;
      expect(Object.keys(tasks)).toEqual(['code', 'dialogue', 'finance', 'math', 'medical', 'story']);
      expect(model).toMatchObject({ layers: 4, slabsPerLayer: 16, slabsPerToken: 2 });
      for (const { tokens, layers, documents } of Object.values(tasks)) {
        expect(documents).toBe(60);
        for (const { frequency, tcess } of layers) {
          expect(frequency.reduce((sum, count) => sum + count, 0)).toBe(2 * tokens);
          expect(tcess.reduce((sum, score) => sum + score, 0)).toBeLessThan(tokens);
        }
      }
    });

    it.each(REFERENCE)('agrees with another framework on %s, with all slabs and with some', async (task, byKeep) => {
      expect((await maskEval(task)).bitsPerByte).toBeCloseTo(byKeep[16] ?? NaN, 2);
      for (const keep of [12, 8, 4, 2]) {
        const { bitsPerByte, kept } = await maskEval(task, ...keeping(task, keep, 'frequency'));
        expect(Math.abs(bitsPerByte - (byKeep[keep] ?? NaN))).toBeLessThan(0.01);
        expect(kept?.map((slabs) => slabs.length)).toEqual([keep, keep, keep, keep]);
      }
    });

    it('loses far less by TCESS than at random, on one domain and on mixtures of domains', async () => {
      const mixtures = [['dialogue'], ['dialogue', 'finance'], ['dialogue', 'finance', 'story']];
      for (const mixture of mixtures) {
        const mean = async (...more: readonly string[]): Promise<number> => {
          let total = 0;
          for (const task of mixture) total += (await maskEval(task, '--docs', '15', ...more)).bitsPerByte;
          return total / mixture.length;
        };
        const named = mixture.join('+');
        const [all, tcess] = [await mean(), await mean(...keeping(named, 8, 'tcess'))];
        const random = await mean(...keeping(named, 8, 'random'));
        expect(tcess - all).toBeLessThan(0.25 * (random - all));
      }
    });

    it('writes what rounding makes differ a little from the mask', async () => {
      // Document 29 of these differs by 0.1 %: a token whose slabs are almost tied goes to another one.
      const held = ['--text', textsOf('math'), '--docs', '40', '--out', join(root, 'tied.gguf')];
      expect(await json('prune', MOE, ...keeping('math', 8, 'tcess'), ...held)).toMatchObject({
        comparedDocuments: 40,
      });
    });

    it('writes a file that computes what the mask computes, with the slabs that it keeps of the first source', async () => {
      const [once, twice, again] = ['once.gguf', 'twice.gguf', 'again.json'].map((name) => join(root, name)) as [
        string,
        string,
        string,
      ];
      const held = ['--text', textsOf('finance'), '--docs', '10'];
      const first = await json<{ kept: number[][]; bitsPerByte: { kept: number } }>(
        'prune',
        MOE,
        ...keeping('finance', 8, 'tcess'),
        ...held,
        '--out',
        once,
      );
      const read = await json<{ bitsPerByte: number }>('mask-eval', once, ...held);
      expect(read.bitsPerByte).toBeCloseTo(first.bitsPerByte.kept, 4);
      expect(await run('profile', once, '--texts', join(EXPERTS, 'data'), '--docs', '2', '--out', again)).toBe(0);
      await json('prune', once, '--profile', again, '--task', 'finance', '--keep', '4', '--out', twice);
      const { metadata, tensors, alignment } = await readGguf(twice);
      expect(alignment).toBe(4096);
      const kept = metadata.get('fleetgate.prune.kept.0')?.value;
      const numbers = typeof kept === 'object' ? (kept.elements ?? []) : [];
      expect(numbers).toHaveLength(4);
      expect(numbers.every((slab) => first.kept[0]?.includes(Number(slab)))).toBe(true);
      // Byte for byte the slabs of the file that was never pruned.
      const [source, target] = [await readGguf(MOE), await readGguf(twice)];
      const [from, to] = [await readFile(MOE), await readFile(twice)];
      for (const name of ['blk.0.ffn_up_exps.weight', 'blk.0.ffn_gate_inp.weight']) {
        const a = source.tensors.find((tensor) => tensor.name === name);
        const b = target.tensors.find((tensor) => tensor.name === name);
        const stride = (a?.byteLength ?? 0) / 16;
        for (const [i, slab] of numbers.entries()) {
          const was = from.subarray((a?.fileOffset ?? 0) + Number(slab) * stride).subarray(0, stride);
          const is = to.subarray((b?.fileOffset ?? 0) + i * stride).subarray(0, stride);
          expect(was.equals(is)).toBe(true);
        }
      }
      expect(tensors.map(({ name }) => name)).toEqual(source.tensors.map(({ name }) => name));
      // The profile of the source is not one of the pruned file.
      expect(await run('mask-eval', once, ...keeping('finance', 4, 'tcess'), ...held)).toBe(2);
      expect(told).toContain('profile of another model');
    });

    it('writes nothing where the loss is more than it may be', async () => {
      const out = join(root, 'refused.gguf');
      const strict = ['--text', textsOf('code'), '--docs', '5', '--max-loss', '0.1'];
      expect(await run('prune', MOE, ...keeping('dialogue', 2, 'tcess'), ...strict, '--out', out)).toBe(2);
      expect(told).toContain('nothing was written');
      expect((await readdir(root)).filter((name) => name.startsWith('refused'))).toEqual([]);
    });

    it.each([
      ['fewer slabs than a token uses', ['--keep', '1'], 'expected 2 to 16'],
      ['more slabs than there are', ['--keep', '17'], 'expected 2 to 16'],
      ['a task that is not profiled', ['--keep', '4', '--task', 'law'], 'knows no task'],
    ])('refuses %s', async (_, more, message) => {
      expect(
        await run('mask-eval', MOE, '--profile', profile, '--task', 'math', '--text', textsOf('math'), ...more),
      ).toBe(2);
      expect(told).toContain(message);
    });
  });

  it('traces the choices of every token, and says how alike they are', async () => {
    const trace = join(root, 'trace.jsonl.gz');
    expect(await json('trace', MOE, '--text', textsOf('math'), '--docs', '5', '--out', trace)).toMatchObject({
      documents: 5,
    });
    const told = await json<{ srp: number; sch: { slabs: number; hitRatio: number }[]; layers: object[] }>(
      'consistency',
      trace,
    );
    expect(told.layers).toHaveLength(4);
    expect(told.srp).toBeGreaterThan(0.5);
    expect(told.sch.map(({ slabs }) => slabs)).toEqual([2, 3, 4, 6, 8]);
  });

  it('refuses a trace that unpacks to an endless line, one cut off, and one that is not there', async () => {
    const [endless, cut, none] = ['endless.jsonl.gz', 'cut.jsonl.gz', 'none.jsonl.gz'].map((name) =>
      join(root, name),
    ) as [string, string, string];
    await writeFile(endless, gzipSync(Buffer.alloc(65 * 2 ** 20, 'x'), { level: 1 }));
    await writeFile(cut, gzipSync('{"schema":"fleetgate-trace/1"}\n').subarray(0, 20));
    for (const [file, message] of [
      [endless, 'a line of more than'],
      [cut, 'unexpected end of file'],
      [none, 'ENOENT'],
    ] as const) {
      expect(await run('consistency', file)).toBe(2);
      expect(told).toContain(message);
    }
  });

  it.each([
    ['a trace that is none', ['consistency', textsOf('math')], 'fleetgate-trace/1'],
    ['a dense model', ['mask-eval', DENSE, '--text', textsOf('math')], 'dense model'],
    [
      'a profile that is none',
      ['mask-eval', MOE, '--text', textsOf('math'), '--profile', MOE, '--task', 'all', '--keep', '4'],
      'brings no profile along',
    ],
    ['half of the options', ['mask-eval', MOE, '--text', textsOf('math'), '--keep', '4'], 'given together'],
    ['a folder without texts', ['profile', MOE, '--texts', EXPERTS, '--out', 'x.json'], 'no .jsonl or .txt files'],
  ])('refuses %s, saying what is wrong', async (_, argv, message) => {
    expect(await run(...argv)).toBe(2);
    expect(told).toContain(message);
  });

  it('refuses texts that are none, naming the line', async () => {
    const bad = join(root, 'bad.jsonl');
    await writeFile(bad, '{"prompt": "a", "completion": "b"}\n{"prompt": 7}\n');
    expect(await run('mask-eval', MOE, '--text', bad)).toBe(2);
    expect(told).toContain('bad.jsonl:2');
  });
});
