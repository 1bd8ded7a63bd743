import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import * as fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { type RoutedText, runBatching } from './bench-batching-run.js';
import { runAgentCli } from './main.js';

const EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const MOE = join(EXPERTS, 'moe', 'moe-q8_0.gguf');

let printed: string;
beforeEach(() => {
  vi.restoreAllMocks();
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((printed += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
});
afterAll(() => {
  vi.restoreAllMocks();
});

describe('runBatching', () => {
  it('evaluates every token of every text in either order, and reads every slab that is used at least once', async () => {
    const slabs = fc.constantFrom(0, 1, 2, 3);
    const text = fc.record({
      task: fc.constantFrom('a', 'b'),
      chosen: fc.array(slabs, { minLength: 1, maxLength: 12 }),
      prompt: fc.integer({ min: 1, max: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        async (made, atOnce, shares) => {
          const texts = made.map(({ task, chosen, prompt }): RoutedText => {
            const probabilities = new Float32Array(4 * chosen.length).fill(0.25);
            const layers = [{ slabs: Int32Array.from(chosen), probabilities }];
            const promptTokens = Math.min(prompt, chosen.length);
            return { task, tokens: chosen.length, promptTokens, slabsPerToken: 1, layers };
          });
          const figures = await runBatching({
            texts,
            shape: { slabsPerLayer: 4, slabBytes: [10], capacityBytes: 30 },
            atOnce,
            batchTokens: 3,
            waiting: 4,
            sharing: shares ? (one, other) => (one === other ? 1 : 0) : undefined,
          });
          const used = new Set(made.flatMap(({ chosen }) => chosen));
          expect(figures.tokens).toBe(made.reduce((sum, { chosen }) => sum + chosen.length, 0));
          expect(figures.slabsRead).toBeGreaterThanOrEqual(used.size);
          if (used.size <= 3) expect(figures.slabsRead).toBe(used.size);
          expect(figures.bytesPerToken).toBeCloseTo((10 * figures.slabsRead) / figures.tokens, 9);
        },
      ),
    );
  });
});

describe('fleetgate bench batching', () => {
  it('reads less where jobs that share slabs follow each other', async () => {
    const options = ['--docs', '6', '--resident', '40', '--at-once', '1,2'];
    expect(await runAgentCli(['bench', 'batching', MOE, '--texts', join(EXPERTS, 'data'), ...options, '--json'])).toBe(
      0,
    );
    const { jobs, rows } = JSON.parse(printed) as {
      jobs: number;
      rows: { atOnce: number; arrival: { bytesPerToken: number }; sharing: { bytesPerToken: number } }[];
    };
    expect(jobs).toBe(36);
    expect(rows.map(({ atOnce }) => atOnce)).toEqual([1, 2]);
    for (const { arrival, sharing } of rows) expect(sharing.bytesPerToken).toBeLessThan(arrival.bytesPerToken);
  });

  it('refuses shares that are none', async () => {
    expect(await runAgentCli(['bench', 'batching', MOE, '--texts', EXPERTS, '--resident', '0'])).toBe(2);
  });
});
