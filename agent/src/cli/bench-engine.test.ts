import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Answered } from './bench-engine-process.js';
import { type EngineReport, firstTokenFigure, reportText, speedFigures } from './bench-engine-report.js';
import { togetherFigure, type TogetherTurn } from './bench-engine-together.js';
import { runAgentCli } from './main.js';

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

const synth = (...more: readonly string[]): Promise<number> =>
  runAgentCli(['gguf', 'synth', '--layers', '2', '--embd', '64', '--ff', '96', ...more, '--out', join(root, 'm.gguf')]);
const answer = (firstMs: number, decodeMs: number, text = 'a'): Answered => ({
  ...{ promptTokens: 100, reusedTokens: 0, decoded: 10, firstMs, text },
  ...{ firstCpuMs: 50, totalMs: firstMs + decodeMs, totalCpuMs: 70 },
});

const turnOf = (...texts: readonly string[]): TogetherTurn => ({ tokens: 20, ms: 100, cpuMs: 60, texts });

describe('fleetgate bench engine', () => {
  it('measures both engines beside the library on a dense model that gguf synth makes', async () => {
    expect(await synth('--experts', '0', '--top-k', '0', '--arch', 'llama')).toBe(0);
    printed = '';
    const options = ['--turns', '1', '--tokens', '6', '--prompt', '9', '--json'];
    expect(await runAgentCli(['bench', 'engine', join(root, 'm.gguf'), ...options]), told).toBe(0);
    const { speeds, firstTokens, together, emptyChildBytes } = JSON.parse(printed) as EngineReport;
    expect(speeds.map(({ engine, what }) => `${engine} ${what}`)).toEqual([
      'ordinary decode',
      'ordinary prefill',
      'slab-aware decode',
      'slab-aware prefill',
    ]);
    for (const { ratio, oursCpuMs, directCpuMs } of speeds) {
      for (const figure of [ratio, oursCpuMs, directCpuMs]) expect(figure).toBeGreaterThan(0);
    }
    // Both read so short a prompt in one evaluation: greedy answers are the library’s own.
    expect(speeds[0]).toMatchObject({ sameTexts: 1, turns: 1 });
    expect(firstTokens.map(({ engine, reusedTokens }) => [engine, reusedTokens > 0])).toEqual([
      ['ordinary', true],
      ['slab-aware', true],
    ]);
    expect(together.map(({ engine, atOnce }) => [engine, atOnce])).toEqual(
      ['ordinary', 'slab-aware'].flatMap((engine) => [1, 2, 4, 8].map((atOnce) => [engine, atOnce])),
    );
    for (const { tokensPerS, cpuMs, answers } of together) {
      expect([tokensPerS > 0, cpuMs > 0, answers]).toEqual([true, true, 8]);
    }
    expect(together.filter(({ atOnce }) => atOnce === 1).every((one) => one.sameTexts === one.answers)).toBe(true);
    expect(emptyChildBytes.ordinary).toBeGreaterThan(20e6);
  }, 60_000);

  it('compares turn by turn, takes medians, and says what missed its bar', () => {
    const direct = [answer(10, 20), answer(100, 200), answer(10, 20)];
    const ours = [answer(10, 25), answer(100, 250), answer(20, 20)];
    const turns = direct.map((one, i) => ({ direct: one, models: ours[i] ?? one, slabs: one }));
    const [decode, prefill, ...slabs] = speedFigures('m', turns);
    expect(decode).toMatchObject({
      ratio: 0.8,
      spread: [0.8, 1],
      direct: 500,
      oursCpuMs: 2,
      directCpuMs: 2,
      cpuRatio: 1,
    });
    expect(prefill).toMatchObject({ ratio: 1, spread: [0.5, 1], ours: 5000, oursCpuMs: 0.5 });
    expect(slabs.map(({ ratio, sameTexts, wanted }) => [ratio, sameTexts, wanted])).toEqual([
      [1, 3, undefined],
      [1, 3, undefined],
    ]);
    const cold = [300, 100, 200].map((loadMs) => ({ startMs: 1000, loadMs, firstMs: 10 }));
    const first = firstTokenFigure('m', 'models', { cold, warm: direct, prefix: ours.slice(0, 1) });
    expect(first).toMatchObject({ coldMs: 1210, warmMs: 10, prefixMs: 10, promptTokens: 100 });
    const text = reportText({
      speeds: speedFigures('m', turns),
      firstTokens: [first],
      together: [togetherFigure('m', 'slabs', 2, [turnOf('a', 'b')], [turnOf('a', 'c')])],
      emptyChildBytes: { ordinary: 90e6, slabAware: null },
      notes: ['so'],
    });
    expect(text).toMatch(/ordinary +decode +400 +500 +0\.800 +0\.80-1\.00 +missed 0\.97/);
    expect(text).toMatch(/m +slab-aware +2 +200 +3\.000 +1\/2/);
    expect(text).toContain('ordinary 90.0 MB, slabAware ?');
  });

  it('refuses half a dense model, and one of an architecture of mixtures', async () => {
    expect(await synth('--experts', '0', '--top-k', '2', '--arch', 'llama')).toBe(2);
    expect(await synth('--experts', '4', '--top-k', '0', '--arch', 'llama')).toBe(2);
    expect(await synth('--experts', '0', '--top-k', '0')).toBe(2);
  });

  it('fails on a file that is no model, and leaves no folder behind', async () => {
    const options = ['--folder', root, '--turns', '1'];
    expect(await runAgentCli(['bench', 'engine', join(root, 'none.gguf'), ...options])).toBeGreaterThan(0);
    expect(told).toContain('none.gguf');
  });
});
