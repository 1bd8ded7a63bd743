import { readFile, stat } from 'node:fs/promises';

import { check } from '@fleetgate/shared/check';
import { systemClock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { elapsed } from '@fleetgate/shared/units/quantity';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';

import { type GateProblem, gateProblemSchema } from '../optimiser/gate-problem.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { JavascriptLpSolver } from '../optimiser/javascript-lp-solver.js';
import { optimise } from '../optimiser/optimise.js';
import type { PlacementPlan } from '../optimiser/plan.js';
import { type PlacementProblem, placementProblemSchema } from '../optimiser/problem.js';
import { problemFaults } from '../optimiser/problem-faults.js';
import { bestSubset } from '../optimiser/subset.js';
import { printJson } from './output.js';

/** Larger files cannot be parsed as one JSON text within a sensible heap. */
const LARGEST_FILE_BYTES = 400 * 2 ** 20;

interface SolveOptions {
  readonly timeLimit: number;
  readonly gap: number;
  readonly method: 'auto' | 'milp';
}

/** `fleetgate solve`: one `fleet-plan/1` document on stdout. Infeasible is an answer, not a failure. */
export function registerSolve(program: Command): void {
  program
    .command('solve')
    .description('solve a placement instance (schema fleet-opt/1) offline and print the plan as JSON')
    .argument('<instance>', 'instance file; kinds fleet, gate and softgate')
    .option('--time-limit <seconds>', 'stop after this many seconds with the best plan so far', positive, 60)
    .option('--gap <share>', 'stop when the plan is proven to be within this share of the best', share, 1e-7)
    .addOption(
      new Option('--method <method>', 'how to solve: auto picks; milp is the exact model')
        .choices(['auto', 'milp'])
        .default('auto'),
    )
    .option('--json', 'the answer is JSON with or without this')
    .action((file: string, options: SolveOptions) => solve(file, options));
}

async function solve(file: string, options: SolveOptions): Promise<void> {
  const document = await readInstance(file);
  const kind = z.object({ kind: z.string() }).safeParse(document).data?.kind;
  if (kind === 'fleet') return solveFleet(fleetProblem(file, document), options);
  if (kind === 'gate' || kind === 'softgate') {
    return printJson(solveGate(check(gateProblemSchema, document, 'instance.invalid', file), options));
  }
  const got = JSON.stringify(kind) ?? 'none';
  throw new FleetError('instance.invalid', `${file}: kind: expected fleet, gate or softgate, got ${got}`, {
    hint: 'instances follow the schema fleet-opt/1; docs/formulation.md describes it',
  });
}

async function readInstance(file: string): Promise<unknown> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > LARGEST_FILE_BYTES) {
      throw new FleetError('instance.invalid', `${file}: ${size} bytes, expected at most ${LARGEST_FILE_BYTES}`, {
        hint: 'give identical devices as one entry with a count',
      });
    }
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof FleetError) throw error;
    throw new FleetError('instance.invalid', `${file}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new FleetError('instance.invalid', `${file}: expected JSON: ${messageOf(error)}`, { cause: error });
  }
}

function fleetProblem(file: string, document: unknown): PlacementProblem {
  const problem = check(placementProblemSchema, document, 'instance.invalid', file);
  const faults = problemFaults(problem);
  if (faults.length > 0) throw new FleetError('instance.invalid', `${file}: ${faults.join('; ')}`);
  return problem;
}

async function solveFleet(problem: PlacementProblem, options: SolveOptions): Promise<void> {
  const solvers = { exact: new HighsSolver(), tiny: new JavascriptLpSolver() };
  try {
    const limits = { timeLimitS: options.timeLimit, gap: options.gap, method: options.method };
    const plan: PlacementPlan = await optimise(problem, limits, solvers);
    printJson(plan);
  } finally {
    await Promise.all([solvers.exact.close(), solvers.tiny.close()]);
  }
}

function solveGate(problem: GateProblem, options: SolveOptions) {
  const started = systemClock.now();
  const seconds = () => elapsed(started, systemClock.now()) / 1000;
  const result = bestSubset(problem, () => seconds() > options.timeLimit);
  const { status, subset, objective, bound } = result;
  const gap = objective === null || bound === null ? null : (bound - objective) / Math.max(1, Math.abs(objective));
  return {
    schema: 'fleet-plan/1',
    status,
    subset,
    objective,
    bound,
    gap,
    seconds: seconds(),
    method: 'branch-and-bound',
    explanation: [
      subset === null
        ? status === 'infeasible'
          ? 'No subset of the experts meets the resource budgets, the number of experts and the replicas together.'
          : 'No subset was found in time.'
        : `Experts ${subset.join(', ')}; ${result.nodes} subsets were looked at.`,
    ],
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0) || value === Infinity)
    throw new InvalidArgumentError('expected a number above 0.');
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value < 1))
    throw new InvalidArgumentError('expected a number from 0 to below 1.');
  return value;
}
