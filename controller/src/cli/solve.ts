import { systemClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { elapsed } from '@fleetgate/shared/units/quantity';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';

import { LARGEST_INSTANCE_BYTES, readInstance } from '../optimiser/disk-instance.js';
import type { GateProblem } from '../optimiser/gate-problem.js';
import { ignoredFields } from '../optimiser/ignored-fields.js';
import { INSTANCE_HINT, readGate, readProblem } from '../optimiser/read-problem.js';
import { shownValue } from '../optimiser/shown-value.js';
import { bestSubset } from '../optimiser/subset.js';
import { printJson, printNote } from './output.js';
import { type PlacementOptions, solvePlacement } from './solve-placement.js';

/** `fleetgate solve`: one `fleet-plan/1` document on stdout. Infeasible is an answer, not a failure. */
export function registerSolve(program: Command): void {
  program
    .command('solve')
    .description('solve a placement instance (schema fleet-opt/1) offline and print the plan as JSON')
    .argument('<instance>', 'instance file (- for stdin), JSON or gzip of it; kinds fleet, gate and softgate')
    .option('--time-limit <seconds>', 'stop after this many seconds with the best plan so far', positive, 60)
    .option(
      '--gap <share>',
      'stop when the plan is proven to be within this share of the best (default: by size)',
      share,
    )
    .addOption(
      new Option(
        '--method <method>',
        'auto picks; monotonic searches catalogues of experts; milp is the exact model; heuristic proves little',
      )
        .choices(['auto', 'monotonic', 'milp', 'heuristic'])
        .default('auto'),
    )
    .option('--progress', 'a line on stderr about every second (default: when stderr is a terminal)')
    .option('--certificate <file>', 'write the proof of the bound there, gzip when it ends in .gz')
    .option(
      '--explain',
      'adds `explain`: what binding bounds are worth and how far, why devices are off, the nearest swaps (at most 30 s)',
    )
    .addOption(
      new Option(
        '--curve <budget>',
        'adds `curve`: quality against watts, or against all latency bounds times a factor (at most 30 s)',
      ).choices(['power', 'latency']),
    )
    .option('--json', 'the answer is JSON with or without this')
    .addHelpText(
      'after',
      `\nA file may hold ${LARGEST_INSTANCE_BYTES / 2 ** 20} MiB of JSON after decompression (3 to 5 million arcs), or a quarter of Node's heap where\nthat is less. Larger fleets: identical devices as one entry with a \`count\`, devices of one board by \`like\`.`,
    )
    .action((file: string, options: SolveOptions) => solve(file, options));
}

type SolveOptions = Omit<PlacementOptions, 'file' | 'remarks'>;

async function solve(file: string, options: SolveOptions): Promise<void> {
  const document = await readInstance(file);
  const kind = z.object({ kind: z.string() }).safeParse(document).data?.kind;
  if (kind === 'fleet') {
    const problem = readProblem(document, file);
    return printJson(await solvePlacement(problem, { ...options, file, remarks: ignoredFields(document) }));
  }
  if (kind === 'gate' || kind === 'softgate') {
    const problem = readGate(document, file);
    noteWhatIsOfFleets(options);
    return printJson(solveGate(problem, { timeLimit: options.timeLimit, gap: options.gap ?? 0 }));
  }
  const got = kind === undefined ? 'none' : shownValue(kind);
  throw new FleetError('instance.invalid', `${file}: kind: expected fleet, gate or softgate, got ${got}`, {
    hint: INSTANCE_HINT,
  });
}

/** A gate has one method, and no budgets whose worth could be asked. */
function noteWhatIsOfFleets({ method, certificate, explain, curve }: SolveOptions): void {
  const given = [
    ...(method === 'auto' ? [] : ['--method']),
    ...(certificate === undefined ? [] : ['--certificate']),
    ...(explain === undefined ? [] : ['--explain']),
    ...(curve === undefined ? [] : ['--curve']),
  ];
  if (given.length > 0) printNote(`note: ${given.join(', ')}: only for instances of kind fleet, ignored`);
}

function solveGate(problem: GateProblem, options: { readonly timeLimit: number; readonly gap: number }) {
  const started = systemClock.now();
  const seconds = () => elapsed(started, systemClock.now()) / 1000;
  // Below a millionth a gap saves no time worth having, and proves less.
  const gap = options.gap <= 1e-6 ? 0 : options.gap;
  const result = bestSubset(problem, { expired: () => seconds() > options.timeLimit, gap });
  const { status, subset, objective, bound } = result;
  return {
    schema: 'fleet-plan/1',
    status,
    subset,
    objective,
    bound,
    gap: objective === null || bound === null ? null : (bound - objective) / Math.max(1, Math.abs(objective)),
    seconds: seconds(),
    method: problem.kind === 'gate' ? 'branch-reduce-bound' : 'branch-and-bound',
    explanation: [
      subset === null
        ? status === 'infeasible'
          ? 'No subset of the experts meets the resource budgets, the number of experts and the replicas together.'
          : 'No subset was found in time.'
        : `${subset.length === 0 ? 'No expert' : `Experts ${subset.join(', ')}`}; branches looked at: ${result.nodes}.`,
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
