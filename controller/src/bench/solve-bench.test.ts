import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { runCli } from '../cli/main.js';

describe('fleetgate bench solve', () => {
  let shown = { out: '', err: '' };
  beforeEach(() => {
    shown = { out: '', err: '' };
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((shown.out += String(text)), true));
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((shown.err += String(text)), true));
  });
  afterEach(() => vi.restoreAllMocks());

  it('measures generated fleets and draws their growth, without a fleet', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fleetgate-bench-'));
    const plot = join(folder, 'growth.svg');
    try {
      expect(await runCli(['bench', 'solve', '--sizes', '10', '--limit', '10', '--json', '--plot', plot])).toBe(0);
      const { reports } = JSON.parse(shown.out) as { reports: { tables: { rows: unknown[][] }[] }[] };
      const rows = reports[0]?.tables[0]?.rows ?? [];
      expect(rows.map(([name, solver, status]) => [name, solver, status])).toEqual([
        ['10 pools', 'fleetgate', 'optimal'],
        ['10 single', 'fleetgate', 'optimal'],
      ]);
      for (const row of rows) {
        expect(row[4]).not.toBe('-');
        expect(Number(row[7])).toBeGreaterThan(0);
        expect(Number(row[8])).toBeGreaterThan(20);
      }
      expect(await readFile(plot, 'utf8')).toContain('10 devices');
    } finally {
      await rm(folder, { recursive: true });
    }
    // Processes of their own, each timed: on a busy machine they take longer than the suite's limit.
  }, 120_000);

  it.each([
    [['--sizes', '5'], /expected whole numbers from 10/],
    [['--sizes', '10', '--instances', '/nowhere'], /--instances: \/nowhere cannot be read/],
  ])('refuses %j', async (argv, reason) => {
    expect(await runCli(['bench', 'solve', ...argv])).toBe(2);
    expect(shown.err).toMatch(reason);
  });
});
