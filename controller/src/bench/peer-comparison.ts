import { type BenchFigure, figure, type Progress } from './bench-report.js';
import { mpsFolder } from './disk-mps-folder.js';
import { runOwn } from './process-own-solver.js';
import { PEERS, runPeer } from './process-peer-solver.js';
import type { InstanceSource } from './process-solve-main.js';
import { runRow, type SolverRun } from './solver-run.js';

export interface PeerComparison {
  readonly rows: readonly (readonly (string | number)[])[];
  readonly figures: readonly BenchFigure[];
}

/** Below this a gap says nothing: solvers' own tolerances are as large. */
const SMALLEST_GAP = 1e-6;

type Solve = (limitS: number, gap: number) => Promise<SolverRun | undefined>;

/**
 * HiGHS, CBC and GLPK on the pooled strong model of an instance, as far as they are installed: until they reach our gap
 * or `limitS` is over, and once more with only our time where they took longer.
 */
export async function comparePeers(
  name: string,
  source: InstanceSource,
  ours: SolverRun,
  limitS: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<PeerComparison> {
  const folder = await mpsFolder();
  try {
    const { file } = folder;
    const made = await runOwn('mps', { task: 'mps', source, out: file }, signal);
    if (made.reason !== null) {
      progress(`  no model for others: ${made.reason}`);
      return { rows: [], figures: [] };
    }
    const solvers: readonly (readonly [string, Solve])[] = [
      ['highs', (timeLimitS, gap) => runOwn('highs', { task: 'highs', source, timeLimitS, gap }, signal)],
      ...PEERS.map(
        (peer) =>
          [peer, (timeLimitS: number, gap: number) => runPeer(peer, file, { timeLimitS, gap }, signal)] as const,
      ),
    ];
    const gap = Math.max(SMALLEST_GAP, ours.gap ?? 0);
    const full: SolverRun[] = [];
    const equal: SolverRun[] = [];
    for (const [solver, solve] of solvers) {
      progress(`  ${solver}`);
      const run = await solve(limitS, gap);
      if (run === undefined) continue;
      full.push(run);
      const short = run.wallS <= ours.wallS ? run : await solve(Math.max(1, ours.wallS), gap);
      if (short !== undefined) equal.push({ ...short, solver: `${solver}, our time` });
    }
    const rows = [...full, ...equal.filter((run) => !full.some(({ wallS }) => wallS === run.wallS))];
    return { rows: rows.map((run) => runRow(name, run)), figures: comparisonFigures(name, ours, full, equal) };
  } finally {
    await folder.remove();
  }
}

/** Times are compared only with a peer that reached our gap; gaps always; nothing when we have no plan. Pure. */
export function comparisonFigures(
  name: string,
  ours: SolverRun,
  full: readonly SolverRun[],
  equal: readonly SolverRun[],
): readonly BenchFigure[] {
  if (ours.gap === null) return [];
  const figures: BenchFigure[] = [];
  const ourGap = ours.gap;
  const reached = full.filter((run) => run.gap !== null && run.gap <= 1.01 * Math.max(SMALLEST_GAP, ourGap));
  const fastest = reached.toSorted((a, b) => a.wallS - b.wallS)[0];
  if (fastest !== undefined) {
    figures.push(figure(`${name}: time to our gap`, 's', ours.wallS, { name: fastest.solver, value: fastest.wallS }));
  }
  const sharpest = (runs: readonly SolverRun[]) =>
    runs.toSorted((a, b) => (a.gap ?? Infinity) - (b.gap ?? Infinity))[0];
  const add = (what: string, run: SolverRun | undefined) => {
    if (run?.gap === undefined || run.gap === null) return;
    figures.push(figure(`${name}: ${what}`, '%', 100 * ourGap, { name: run.solver, value: 100 * run.gap }));
  };
  if (fastest === undefined) add('gap, others at the limit', sharpest(full));
  add('gap at equal time', sharpest(equal));
  return figures;
}
