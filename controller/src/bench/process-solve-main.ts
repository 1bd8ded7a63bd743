/** Entry of a process that solves one instance and says what it took; its parent measures the whole of it. */
import { writeFile } from 'node:fs/promises';

import { messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

import { readInstance } from '../optimiser/disk-instance.js';
import { buildExactModel } from '../optimiser/exact-model.js';
import { HighsSolver } from '../optimiser/highs-solver.js';
import { JavascriptLpSolver } from '../optimiser/javascript-lp-solver.js';
import { optimise, type OptimiseLimits } from '../optimiser/optimise.js';
import type { PlacementProblem } from '../optimiser/problem.js';
import { exactPools } from '../optimiser/pools.js';
import type { SolveProgress } from '../optimiser/progress.js';
import { readGate, readProblem } from '../optimiser/read-problem.js';
import { bestSubset } from '../optimiser/subset.js';
import { fleetProblem, type FleetShape } from './fleet-instances.js';
import { mpsText } from './mps-text.js';
import { gapOf, provenStatus, type SolverRun } from './solver-run.js';

export type InstanceSource = { readonly file: string } | { readonly shape: FleetShape };

export type SolveRequest = { readonly source: InstanceSource } & (
  | {
      readonly task: 'optimise';
      readonly method: OptimiseLimits['method'];
      readonly timeLimitS: number;
      /** Undefined: the optimiser's choice. */
      readonly gap: number | undefined;
    }
  /** The strong model of the pooled problem as it is, to the mixed-integer solver alone. */
  | { readonly task: 'highs'; readonly timeLimitS: number; readonly gap: number }
  /** The same model as a file. */
  | { readonly task: 'mps'; readonly out: string }
);

export type SolveReply =
  | (Pick<SolverRun, 'status' | 'objective' | 'bound' | 'gap' | 'nodes'> & {
      readonly expected: Expected | null;
      readonly columns: number;
    })
  | { readonly error: string };

/** What the instance file says of itself. */
export interface Expected {
  readonly status: string;
  readonly objective: number | null;
}

const expectedSchema = z.object({
  expected: z.object({ status: z.string(), objective: z.number().nullish() }),
});

process.once('message', (request: SolveRequest) => {
  void answer(request).then(
    (reply) => send(reply),
    (error: unknown) => send({ error: messageOf(error) }),
  );
});
process.once('disconnect', () => process.exit());

function send(reply: SolveReply): void {
  process.send?.(reply, undefined, undefined, () => process.exit());
}

async function answer(request: SolveRequest): Promise<SolveReply> {
  const document =
    'file' in request.source ? await readInstance(request.source.file) : fleetProblem(request.source.shape);
  const said = expectedSchema.safeParse(document).data?.expected;
  const expected = said === undefined ? null : { status: said.status, objective: said.objective ?? null };
  const kind = (document as { readonly kind?: unknown }).kind;
  if (kind !== 'fleet') return { ...gateAnswer(document, request), expected, columns: 0 };
  const problem = readProblem(document, 'file' in request.source ? request.source.file : 'instance');
  if (request.task === 'optimise') return { ...(await placementAnswer(problem, request)), expected, columns: 0 };
  const { program } = buildExactModel(exactPools(problem).problem);
  const columns = program.cost.length;
  if (request.task === 'highs') {
    const found = await new HighsSolver().solve(program, request);
    const [objective, bound] = ['objective' in found ? found.objective : null, 'bound' in found ? found.bound : null];
    const gap = gapOf(objective, bound);
    return { status: provenStatus(found.status, gap), objective, bound, gap, nodes: null, expected, columns };
  }
  await writeFile(request.out, mpsText(program, problem.name));
  return { status: 'timeout', objective: null, bound: null, gap: null, nodes: null, expected, columns };
}

async function placementAnswer(problem: PlacementProblem, request: Extract<SolveRequest, { task: 'optimise' }>) {
  const solvers = { exact: new HighsSolver(), tiny: new JavascriptLpSolver() };
  let nodes: number | null = null;
  const limits = {
    timeLimitS: request.timeLimitS,
    ...(request.gap === undefined ? {} : { gap: request.gap }),
    method: request.method,
    onProgress: (progress: SolveProgress) => (nodes = progress.nodes),
  };
  const { status, objective, bound, gap } = await optimise(problem, limits, solvers);
  return { status, objective, bound, gap, nodes };
}

function gateAnswer(document: unknown, request: SolveRequest) {
  const problem = readGate(document, 'instance');
  const limitS = 'timeLimitS' in request ? request.timeLimitS : 1;
  const started = performance.now();
  const expired = () => performance.now() - started > limitS * 1000;
  const { status, objective, bound, nodes } = bestSubset(problem, { expired, gap: 0 });
  return { status, objective, bound, gap: gapOf(objective, bound), nodes };
}
