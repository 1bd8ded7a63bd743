import { HighsSolver } from '../optimiser/highs-solver.js';
import { JavascriptLpSolver } from '../optimiser/javascript-lp-solver.js';
import { optimise, type OptimiseLimits } from '../optimiser/optimise.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { progressLine, type SolveProgress } from '../optimiser/progress.js';
import { unitWarnings } from '../optimiser/unit-warnings.js';
import { printNote } from './output.js';

const LINE_EVERY_S = 1;

export interface PlacementOptions {
  readonly timeLimit: number;
  readonly gap?: number;
  readonly method: OptimiseLimits['method'];
  readonly progress?: boolean;
}

/**
 * Solves one placement problem with solvers of its own. Says on stderr, before the solve, which figures look given in
 * another unit (the plan's explanation repeats it), and how far it is, for a person or when asked to.
 */
export async function solvePlacement(problem: PlacementProblem, options: PlacementOptions): Promise<PlacementPlan> {
  const warnings = unitWarnings(problem);
  for (const warning of warnings) printNote(`warning: ${warning}`);
  const solvers = { exact: new HighsSolver(), tiny: new JavascriptLpSolver() };
  const isWatched = options.progress ?? process.stderr.isTTY;
  const limits = {
    timeLimitS: options.timeLimit,
    gap: options.gap ?? 1e-7,
    method: options.method,
    ...(isWatched ? { onProgress: lineEachSecond(printNote) } : {}),
  };
  try {
    const plan = await optimise(problem, limits, solvers);
    return { ...plan, explanation: [...warnings, ...plan.explanation] };
  } finally {
    await Promise.all([solvers.exact.close(), solvers.tiny.close()]);
  }
}

/** Prints a line when the last one is a second old; what comes between is not shown. */
export function lineEachSecond(print: (line: string) => void): (progress: SolveProgress) => void {
  let next = LINE_EVERY_S;
  return (progress) => {
    if (progress.seconds < next) return;
    next = progress.seconds + LINE_EVERY_S;
    print(progressLine(progress));
  };
}
