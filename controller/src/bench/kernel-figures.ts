import { SeededRandom } from '@fleetgate/shared/random';

import { gateSubsetProblem } from '../optimiser/gate-subset.js';
import { solveSubset } from '../optimiser/subset-kernel.js';
import type { BenchTable } from './bench-report.js';
import { kernelMismatches } from './kernel-mismatches.js';
import { randomGate } from './random-gates.js';

const SIZES = [
  { experts: 20, classes: 16 },
  { experts: 80, classes: 24 },
  { experts: 150, classes: 32 },
] as const;
const GATES = 5;
const MISMATCH_CASES = 10_000;
const WARM_UP = 20;
/** Tight: few experts fit, which ones is hard to say. */
const BUDGET_SHARE = 0.07;
const LIMIT_MS = 10_000;

export interface KernelFigures {
  readonly mismatches: number;
  readonly cases: number;
  readonly table: BenchTable;
}

/** The subset kernel: wrong answers against enumeration, and its time on random gates of 20, 80 and 150 experts. */
export function kernelFigures(seed: number): KernelFigures {
  // Compiles the kernel: a controller does that once, and a median of five would show nothing else.
  for (let each = 0; each < WARM_UP; each++) timed(seed + each, { experts: 40, classes: 16 }, 'spread');
  const rows = SIZES.flatMap(({ experts, classes }) =>
    (['spread', 'clusters'] as const).map((structure) => {
      const runs = Array.from({ length: GATES }, (_, each) => timed(seed + each, { experts, classes }, structure));
      const times = runs.map(({ ms }) => ms).sort((a, b) => a - b);
      const middle = times[Math.floor(GATES / 2)] ?? NaN;
      const proven = runs.filter(({ isProven }) => isProven).length;
      const nodes = Math.max(...runs.map(({ nodes }) => nodes));
      const shown = (ms: number) => Number(ms.toPrecision(3));
      return [
        `${experts} × ${classes}`,
        structure,
        shown(middle),
        shown(times.at(-1) ?? NaN),
        nodes,
        `${proven}/${GATES}`,
      ];
    }),
  );
  return {
    mismatches: kernelMismatches(MISMATCH_CASES, seed),
    cases: MISMATCH_CASES,
    table: {
      title: `subset kernel: ${GATES} random gates of each kind, a budget of ${Number((100 * BUDGET_SHARE).toPrecision(3))} %`,
      columns: ['experts × classes', 'kind', 'median ms', 'worst ms', 'most nodes', 'proven'],
      rows,
    },
  };
}

function timed(seed: number, size: { experts: number; classes: number }, structure: 'spread' | 'clusters') {
  const shape = { ...size, structure, maxExperts: null, budgetShare: BUDGET_SHARE, minReplicas: 1 };
  const problem = gateSubsetProblem(randomGate(new SeededRandom(seed), shape));
  const started = performance.now();
  const { status, nodes } = solveSubset(problem, { expired: () => performance.now() - started > LIMIT_MS });
  return { ms: performance.now() - started, nodes, isProven: status === 'optimal' };
}
