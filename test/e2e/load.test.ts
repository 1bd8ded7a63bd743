import { describe, expect, it } from 'vitest';

import type { BenchReport } from '../../controller/src/bench/bench-report.ts';
import { fleetgate } from '../support/running-fleet.ts';

describe('bench load', () => {
  it('finds every request ended once and as its client saw it, with agents killed and frozen', async () => {
    const { code, stdout, stderr } = await fleetgate(
      ['bench', 'load', '--minutes', '0.25', '--shares', '50', '--seed', '7', '--json'],
      { FLEETGATE_API_KEY: 'a-key-for-the-load-test' },
    );
    expect(code, stderr).toBe(0);
    const { reports } = JSON.parse(stdout) as { readonly reports: readonly BenchReport[] };
    const [report] = reports;
    const figure = (what: string) => report?.figures.find((one) => one.what === what)?.ours;
    expect(report?.notes.filter((note) => note.startsWith('FAULT'))).toEqual([]);
    expect(figure('offered')).toBeGreaterThan(0);
    expect(figure('lost, or without an end')).toBe(0);
    expect(figure('recorded once, ended, and as the client saw it')).toBe(figure('offered'));
    const [outcomes, , , , faults] = report?.tables ?? [];
    const count = (what: string) => Number(outcomes?.rows.find(([name]) => name === what)?.[1]);
    const ends = ['answered', 'refused or failed by an HTTP answer', 'broken off in their stream', 'disconnected'];
    expect(ends.reduce((sum, what) => sum + count(what), count('not offered in time'))).toBe(count('due'));
    expect(faults?.rows.map((row) => row[2])).toEqual(['kill', 'freeze']);
  }, 240_000);
});
