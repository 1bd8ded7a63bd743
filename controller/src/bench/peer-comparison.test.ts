import { describe, expect, it } from 'vitest';

import { comparisonFigures } from './peer-comparison.js';
import { runRow, type SolverRun } from './solver-run.js';

const run = (solver: string, wallS: number, gap: number | null): SolverRun => ({
  solver,
  status: gap === null ? 'timeout' : 'feasible',
  objective: gap === null ? null : 900,
  bound: gap === null ? null : 900 * (1 + gap),
  gap,
  nodes: null,
  wallS,
  cpuS: wallS,
  peakBytes: 2 ** 20,
});

describe('comparisonFigures', () => {
  it('compares times with the fastest that reached our gap', () => {
    const figures = comparisonFigures(
      'a',
      run('fleetgate', 2, 1e-4),
      [run('highs', 20, 1e-4), run('cbc', 8, 1e-4), run('glpsol', 3, 5e-3)],
      [run('cbc, our time', 2, 1e-3), run('glpsol, our time', 2, 1e-2)],
    );
    expect(figures.map(({ what, otherName, ratio }) => [what, otherName, Number(ratio?.toPrecision(6))])).toEqual([
      ['a: time to our gap', 'cbc', 0.25],
      ['a: gap at equal time', 'cbc, our time', 0.1],
    ]);
  });

  it('compares gaps where none reached ours, and nothing with a solver that found nothing', () => {
    const ours = run('fleetgate', 2, 1e-4);
    const some = comparisonFigures('a', ours, [run('highs', 20, null), run('cbc', 20, 1e-3)], [run('cbc', 2, null)]);
    expect(some.map(({ what, otherName }) => [what, otherName])).toEqual([['a: gap, others at the limit', 'cbc']]);
    expect(comparisonFigures('a', ours, [], [])).toEqual([]);
    expect(comparisonFigures('a', run('fleetgate', 2, null), [run('cbc', 20, 1e-3)], [])).toEqual([]);
  });
});

describe('runRow', () => {
  it('shows what is not known as a dash, and rounding as no gap', () => {
    expect(runRow('x', run('cbc', 1.234, null)).slice(1)).toEqual([
      'cbc',
      'timeout',
      '-',
      '-',
      '-',
      1.23,
      1.23,
      1,
      '-',
    ]);
    expect(runRow('x', run('cbc', 1, 1e-13))[5]).toBe(0);
  });
});
