import { fileURLToPath } from 'node:url';

import { FleetError } from '@fleetgate/shared/errors';
import { Argument, type Command, InvalidArgumentError } from 'commander';

import { agentBench } from '../bench/agent-bench.js';
import type { BenchReport } from '../bench/bench-report.js';
import { budgetBench } from '../bench/budget-bench.js';
import { collaborationBench } from '../bench/collaboration-bench.js';
import { dispatchBench } from '../bench/dispatch-bench.js';
import { readValidationPairs, type ValidationPair } from '../bench/disk-validation-pairs.js';
import { gateBench } from '../bench/gate-bench.js';
import { HttpFleetClient } from '../bench/http-fleet-client.js';
import { scoreOffline } from '../bench/process-offline-scores.js';
import { addBenchChaosOptions, type BenchChaosOptions, runBenchChaos } from './bench-chaos.js';
import { addBenchFleetOptions, type BenchFleetOptions, runBenchFleet } from './bench-fleet.js';
import { addBenchFuzzOptions, type BenchFuzzOptions, runBenchFuzz } from './bench-fuzz.js';
import { addBenchGatewayOptions, type BenchGatewayOptions, runBenchGateway } from './bench-gateway.js';
import { addBenchPredictorOptions, type BenchPredictorOptions, runBenchPredictor } from './bench-predictor.js';
import { addBenchLoadOptions, type BenchLoadOptions, runBenchLoad } from './bench-load.js';
import { addBenchMoe2Options, type BenchMoe2Options, runBenchMoe2 } from './bench-moe2.js';
import { addBenchSolveOptions, type BenchSolveOptions, runBenchSolve } from './bench-solve.js';
import { addBenchVoteOptions, type BenchVoteOptions, runBenchVote } from './bench-vote.js';
import { printJson, printLine, printNote, printTable, styled } from './output.js';

const BENCHES = [
  'agent',
  'gateway',
  'dispatch',
  'gate',
  'collaboration',
  'budget',
  'solve',
  'moe2',
  'predictor',
] as const;
/** Needs a file that is not part of the product, so `all` leaves it out. */
const VOTE = 'vote';
/** Start a fleet of their own and take half an hour, so `all` leaves them out. */
const OWN_FLEET = ['load', 'chaos', 'fleet', 'fuzz'] as const;
type Bench = (typeof BENCHES)[number] | typeof VOTE | (typeof OWN_FLEET)[number];
/** More than any file of pairs has. */
const MOST_PAIRS = 100_000;
const DEFAULT_URL = 'http://127.0.0.1:8080';
const BUNDLED_EXPERTS = fileURLToPath(new URL('../../../experts', import.meta.url));
const BUNDLED_PROMPTS = fileURLToPath(new URL('../../../experts/data', import.meta.url));

interface BenchOptions
  extends
    BenchSolveOptions,
    BenchGatewayOptions,
    BenchMoe2Options,
    BenchVoteOptions,
    BenchPredictorOptions,
    BenchLoadOptions,
    BenchChaosOptions,
    BenchFleetOptions,
    BenchFuzzOptions {
  readonly url?: string;
  readonly key?: string;
  readonly limit: number;
  readonly experts: string;
  readonly power: readonly number[];
  readonly remote?: boolean;
  readonly json?: boolean;
}

/** They belong to the agent: `fleetgate` hands them over before this program starts. */
const DEVICE_BENCHES = `
Of this machine as a device, each with its own --help and without a fleet:
  bench engine       our engines beside llama.cpp's library driven directly; time to the first text
  bench offload      slabs kept by us beside stock llama.cpp's mapping, under memory caps
  bench first-token  time to the first token of a mixture kept on storage
  bench batching     what starting jobs by shared slabs saves
`;

/** `fleetgate bench`: figures of a running system, each beside its peer's or limit's from the same run. */
export function registerBench(program: Command): void {
  const command = program
    .command('bench')
    .description(
      'measure a running system (gateway, solve, moe2, predictor, vote, load, chaos, fleet and fuzz need none); figures beside those of a peer or a limit, same run',
    )
    .addArgument(
      new Argument(
        '[what]',
        'agent: memory; gateway: our dispatcher beside proxies; dispatch: added latency, with `--peers` `gateway` first; gate: choice of experts; collaboration: several experts together; budget: power against quality; solve: optimiser; moe2: its baselines; predictor: the gate by itself; vote: voting on `--data`; load: open-loop load with faults on a fleet of its own; chaos: fault after fault on one, until the last request is accounted for; fleet: thousands of connections that enrol, connect, lose the broker and send telemetry; fuzz: hostile packets at a broker of its own (the last five are no part of `all`)',
      )
        .choices([...BENCHES, VOTE, ...OWN_FLEET, 'all'])
        .default('all'),
    )
    .option('--url <url>', `controller to measure (default: FLEETGATE_URL, or ${DEFAULT_URL})`)
    .option('--key <key>', 'API key (default: FLEETGATE_API_KEY)')
    .option('--limit <n>', 'prompts of each domain; for `solve`, seconds of each solve', promptCount, 20)
    .option('--prompts <dir>', 'folder of <domain>.valid.jsonl files', BUNDLED_PROMPTS)
    .option('--experts <dir>', 'folder of expert cards, for experts that the plan serves nowhere', BUNDLED_EXPERTS)
    .option(
      '--power <watts>',
      'fleet power budgets of `budget`, separated by commas (default: two that are met)',
      powers,
      [],
    )
    .option('--remote', 'allow a controller on another machine; `budget` changes its budgets for some minutes')
    .option('--json', 'print one JSON document')
    .addHelpText('after', DEVICE_BENCHES);
  for (const add of [
    addBenchGatewayOptions,
    addBenchSolveOptions,
    addBenchMoe2Options,
    addBenchVoteOptions,
    addBenchPredictorOptions,
    addBenchLoadOptions,
    addBenchChaosOptions,
    addBenchFleetOptions,
    addBenchFuzzOptions,
  ])
    add(command);
  command.action((what: Bench | 'all', options: BenchOptions) => bench(what, options));
}

async function bench(what: Bench | 'all', options: BenchOptions): Promise<void> {
  const client = new HttpFleetClient(addressOf(options), options.key ?? process.env['FLEETGATE_API_KEY']);
  const interrupted = new AbortController();
  const interrupt = () =>
    interrupted.abort(new FleetError('job.cancelled', 'interrupted', { hint: 'budgets are put back as they were' }));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const reports: BenchReport[] = [];
  try {
    for (const one of benchesOf(what, options)) {
      const report = await runBench(one, client, options, interrupted.signal);
      reports.push(report);
      if (options.json !== true) printReport(report);
    }
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
  if (options.json === true) printJson({ url: client.url, limit: options.limit, reports });
}

/** Peers of dispatch are told beside what the dispatcher costs by itself. */
function benchesOf(what: Bench | 'all', { peers }: Pick<BenchOptions, 'peers'>): readonly Bench[] {
  if (what === 'all') return BENCHES;
  return what === 'dispatch' && peers === true ? ['gateway', 'dispatch'] : [what];
}

async function runBench(
  what: Bench,
  client: HttpFleetClient,
  options: BenchOptions,
  signal: AbortSignal,
): Promise<BenchReport> {
  const pairs = () => readValidationPairs(options.prompts, options.limit);
  switch (what) {
    case 'agent':
      return agentBench();
    case 'gateway':
      return runBenchGateway(options, signal);
    case 'dispatch':
      return dispatchBench(client, await pairs(), printNote, signal);
    case 'gate':
      return gateBenchOf(client, await pairs(), options, signal);
    case 'collaboration': {
      const all = await readValidationPairs(options.prompts, MOST_PAIRS);
      return collaborationBench(client, all, options.limit, printNote, signal);
    }
    case 'budget':
      return budgetBench(client, await pairs(), options.power, printNote, signal);
    case 'solve':
      return runBenchSolve(options, options.limit, signal);
    case 'moe2':
      return runBenchMoe2(options, signal);
    case 'predictor':
      return runBenchPredictor(options, signal);
    case 'vote':
      return runBenchVote(options, signal);
    case 'load':
      return runBenchLoad(options, await readValidationPairs(options.prompts, MOST_PAIRS), signal);
    case 'chaos':
      return runBenchChaos(options, await readValidationPairs(options.prompts, MOST_PAIRS), signal);
    case 'fleet':
      return runBenchFleet(options, signal);
    case 'fuzz':
      return runBenchFuzz(options, signal);
  }
}

function gateBenchOf(
  client: HttpFleetClient,
  pairs: readonly ValidationPair[],
  options: BenchOptions,
  signal: AbortSignal,
): Promise<BenchReport> {
  return gateBench(client, pairs, () => scoreOffline(pairs, options.experts, signal), printNote, signal);
}

function addressOf(options: BenchOptions): string {
  const url = options.url ?? process.env['FLEETGATE_URL'] ?? DEFAULT_URL;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw new FleetError('usage.invalid', `--url: expected an http or https address, got ${JSON.stringify(url)}`, {
      hint: `for example --url ${DEFAULT_URL}`,
    });
  }
  const isLoopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(parsed.hostname);
  if (!isLoopback && options.remote !== true) {
    throw new FleetError('usage.invalid', `--url: ${parsed.hostname} is not this machine`, {
      hint: 'benchmarks load the fleet they measure; --remote allows it',
    });
  }
  return url;
}

function printReport(report: BenchReport): void {
  printLine(styled('bold', report.name));
  if (report.figures.length > 0) {
    printTable(
      [
        { title: 'figure', value: (row) => row.what },
        { title: 'ours', value: (row) => number(row.ours), align: 'right' },
        { title: 'unit', value: (row) => row.unit },
        { title: 'other', value: (row) => (row.other === null ? '-' : number(row.other)), align: 'right' },
        { title: 'ratio', value: (row) => (row.ratio === null ? '-' : number(row.ratio)), align: 'right' },
        { title: 'other is', value: (row) => row.otherName },
      ],
      report.figures,
    );
  }
  for (const table of report.tables) {
    printLine();
    printLine(table.title);
    printTable(
      table.columns.map((title, at) => ({
        title,
        value: (row: readonly (string | number)[]) => String(row[at] ?? ''),
        align: at === 0 ? ('left' as const) : ('right' as const),
      })),
      table.rows,
    );
  }
  for (const note of report.notes) printLine(styled('dim', `- ${note}`));
  printLine();
}

function number(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : '-';
}

function promptCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 10_000) {
    throw new InvalidArgumentError(`expected 1 to 10000, got ${text}.`);
  }
  return value;
}

function powers(text: string): readonly number[] {
  const values = text.split(',').map(Number);
  if (values.some((value) => !(value > 0) || !Number.isFinite(value))) {
    throw new InvalidArgumentError(`expected watts separated by commas, got ${text}.`);
  }
  return values;
}
