import { systemClock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';

import { type Certificate, partsOf } from '../optimiser/certificate.js';
import { explainPlan, type PlanExplanation } from '../optimiser/explain-plan.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { JavascriptLpSolver } from '../optimiser/javascript-lp-solver.js';
import { optimise, type OptimiseLimits } from '../optimiser/optimise.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { progressLine, type SolveProgress } from '../optimiser/progress.js';
import type { Solvers } from '../optimiser/solver.js';
import type { Curve, CurveKind } from '../optimiser/trade-off.js';
import { unitWarnings } from '../optimiser/unit-warnings.js';
import { checkPlace, writeCertificate } from './certificate-file.js';
import { printNote } from './output.js';

const LINE_EVERY_S = 1;

export interface PlacementOptions {
  /** Where the problem was read. */
  readonly file: string;
  /** What there is to say about how it was read. */
  readonly remarks: readonly string[];
  readonly timeLimit: number;
  readonly gap?: number;
  readonly method: OptimiseLimits['method'];
  readonly progress?: boolean;
  /** File to write the proof of the bound to; gzip where its name ends in `.gz`. */
  readonly certificate?: string;
  readonly explain?: boolean;
  readonly curve?: CurveKind;
}

/** For what is solved again to explain a plan, s; less where the time limit is shorter. */
const EXPLAIN_S = 30;

/** A plan as it is printed: the proof goes to a file, here is only of how many parts it has. */
export interface PrintedPlan extends Omit<PlacementPlan, 'certificate'> {
  readonly certificateParts: number;
  readonly explain?: PlanExplanation;
  readonly curve?: Curve;
}

/**
 * Solves one placement problem with solvers of its own. Says on stderr, before the solve, which figures look given in
 * another unit (the plan's explanation repeats it), and how far it is, for a person or when asked to.
 */
export async function solvePlacement(problem: PlacementProblem, options: PlacementOptions): Promise<PrintedPlan> {
  if (options.certificate !== undefined) await checkPlace(options.certificate, options.file);
  const warnings = [...options.remarks, ...unitWarnings(problem)];
  for (const warning of warnings) printNote(`warning: ${warning}`);
  const solvers = { exact: new HighsSolver(), tiny: new JavascriptLpSolver() };
  const isWatched = options.progress ?? process.stderr.isTTY;
  const limits = {
    timeLimitS: options.timeLimit,
    ...(options.gap === undefined ? {} : { gap: options.gap }),
    method: options.method,
    ...(isWatched ? { onProgress: lineEachSecond(printNote) } : {}),
  };
  try {
    const plan = await optimise(problem, limits, solvers);
    const { certificate, ...rest } = plan;
    if (options.certificate !== undefined) await keep(certificate, options.certificate);
    const certificateParts = certificate === undefined ? 0 : partsOf(certificate.tree);
    const answer = { ...rest, certificateParts, explanation: [...warnings, ...plan.explanation] };
    return { ...answer, ...(await explained(problem, plan, options, solvers)) };
  } finally {
    await Promise.all([solvers.exact.close(), solvers.tiny.close()]);
  }
}

/** A plan is not lost with its proof: where that cannot be written, it is said, and the exit status tells. */
async function keep(certificate: Certificate | undefined, file: string): Promise<void> {
  if (certificate === undefined) {
    printNote('note: there is no certificate to write: nothing was proven');
    return;
  }
  try {
    await writeCertificate(file, certificate);
  } catch (error) {
    printNote(`error: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}

async function explained(
  problem: PlacementProblem,
  plan: PlacementPlan,
  { explain: overview = false, curve: of, timeLimit }: PlacementOptions,
  solvers: Solvers,
): Promise<Pick<PrintedPlan, 'explain' | 'curve'>> {
  if (!overview && of === undefined) return {};
  const question = { overview, ...(of === undefined ? {} : { curve: of }) };
  const parts = { solvers, clock: systemClock, timeLimitS: Math.min(EXPLAIN_S, timeLimit) };
  const { curve, ...explain } = await explainPlan(problem, plan, question, parts);
  return { ...(overview ? { explain } : {}), ...(curve === undefined ? {} : { curve }) };
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
