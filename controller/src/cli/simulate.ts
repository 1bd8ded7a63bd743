import { fileURLToPath } from 'node:url';

import type { DeviceView, ExpertView, ListBody, RequestView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { InvalidArgumentError, type Command } from 'commander';

import { DEFAULT_BUDGETS } from '../planning/budgets.js';
import { ProcessOptimiser } from '../planning/process-optimiser.js';
import { readMinds, readTextFile } from '../simulation/disk-simulation-inputs.js';
import { arrivalsFrom, catalogueFrom, specsFrom } from '../simulation/running-fleet.js';
import { catalogueOf } from '../simulation/simulated-catalogue.js';
import { boardSpecs } from '../simulation/simulated-fleet.js';
import { POLICIES, POLICY_TITLES, type PolicyName } from '../simulation/policies.js';
import { simulate, type SimulationOptions } from '../simulation/simulate.js';
import type { SimulationReport } from '../simulation/simulation-report.js';
import { type Arrival, parseChurn, parseTrace } from '../simulation/trace.js';
import { ApiClient } from './api-client.js';
import { countOption } from './options.js';
import { printJson, printLine, printNote, printTable } from './output.js';

/** Records of one page of the log, and of all of it. */
const PAGE = 1000;
const MOST_REPLAYED = 20_000;
const BUNDLED_OUTCOMES = fileURLToPath(new URL('../../../experts/outcomes/bundled.jsonl.gz', import.meta.url));

interface SimulateOptions {
  readonly devices: number;
  readonly trace?: string;
  readonly replay?: boolean;
  readonly url?: string;
  readonly key?: string;
  readonly churn?: string;
  readonly outcomes: string;
  readonly experts?: readonly string[];
  readonly power?: number;
  readonly latency: number;
  readonly rate: number;
  readonly stretch: number;
  readonly seconds?: number;
  readonly speed?: number;
  readonly seed: number;
  readonly policy: readonly PolicyName[];
  readonly equalEnergy?: boolean;
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly slow: number;
  readonly hot: number;
  readonly restarts: number;
  readonly json?: boolean;
}

/** `fleetgate simulate`: a simulated fleet on the controller's own code. */
export function registerSimulate(program: Command): void {
  program
    .command('simulate')
    .description("a simulated fleet under a trace, on the controller's own registry, gate, planner and dispatcher")
    .option('--trace <file>', 'arrivals: CSV (.gz too) with t_s, context_tokens, generated_tokens')
    .option('--replay', "arrivals, devices and experts of the running controller's own log and fleet, instead")
    .option('--url <url>', '`--replay`: address of the controller')
    .option('--key <key>', '`--replay`: API key')
    .option('--devices <n>', 'devices, of five boards', countOption, 100)
    .option('--churn <file>', 'joins and losses of devices: CSV with t_s, event (add or remove), node')
    .option('--outcomes <file>', 'prompts with how good each model answers: half trains the gate', BUNDLED_OUTCOMES)
    .option(
      '--experts <list>',
      'models of the outcomes, separated by commas (default: those whose size is known)',
      list,
    )
    .option('--power <watts>', 'budget of the whole fleet, idling included', positive)
    .option('--latency <ms>', 'bound on the mean latency', positive, DEFAULT_BUDGETS.defaultClass.latencyMeanMs)
    .option('--rate <share>', 'share of the arrivals that is kept, 0 to 1', share, 1)
    .option('--stretch <x>', 'times between arrivals, times this', positive, 1)
    .option('--seconds <n>', 'only the beginning of the trace', positive)
    .option('--speed <x>', 'at most so many times real time (default: as fast as it goes)', positive)
    .option('--seed <n>', 'the same seed gives the same run', countOption, 1)
    .option('--policy <list>', `ways to dispatch: ${POLICIES.join(', ')}, or all`, policies, ['fleetgate'])
    .option('--equal-energy', 'run fleetgate again within the mean power of every other policy')
    .option('--loss <share>', 'messages of jobs that are lost', share, 0)
    .option('--duplicate <share>', 'messages that come twice', share, 0)
    .option('--reorder <share>', 'messages that later ones pass', share, 0)
    .option('--slow <share>', 'devices that are slower than they measured', share, 0)
    .option('--hot <share>', 'devices that are slow now and then', share, 0)
    .option('--restarts <n>', 'restarts of each device, an hour', atLeastZero, 0)
    .option('--json', 'print one JSON document')
    .action(run);
}

async function run(options: SimulateOptions): Promise<void> {
  const abort = new AbortController();
  const stop = (): void => abort.abort(new FleetError('job.cancelled', 'interrupted'));
  process.once('SIGINT', stop);
  const optimiser = new ProcessOptimiser();
  try {
    const base = await inputs(options, abort.signal);
    const one = async (policy: PolicyName, powerW: number | null): Promise<SimulationReport> => {
      const budgets = {
        ...DEFAULT_BUDGETS,
        fleetPowerW: powerW,
        defaultClass: { ...DEFAULT_BUDGETS.defaultClass, latencyMeanMs: options.latency },
      };
      const named = powerW === null ? policy : `${policy} at ${powerW.toFixed(0)} W`;
      printNote(`simulate: ${named}`);
      const asked = { ...base, policy, budgets, optimiser };
      return policy === 'best-single' ? bestSingle(asked) : simulate(asked);
    };
    const reports: SimulationReport[] = [];
    for (const policy of options.policy) reports.push(await one(policy, options.power ?? null));
    const equal: Comparison[] = [];
    if (options.equalEnergy === true) {
      for (const other of reports.filter(({ policy }) => policy !== 'fleetgate')) {
        equal.push({ other, fleetgate: await one('fleetgate', other.meanW) });
      }
    }
    if (options.json === true) printJson({ schema: 'fleetgate-simulation/1', reports, equalEnergy: equal });
    else print(reports, equal);
  } finally {
    process.removeListener('SIGINT', stop);
    await optimiser.close();
  }
}

/** Whichever expert answers best by itself, with plans that place nothing else. */
async function bestSingle(options: SimulationOptions): Promise<SimulationReport> {
  let best: SimulationReport | undefined;
  for (const expert of options.catalogue.experts.values()) {
    printNote(`simulate: only ${expert.id}`);
    const report = await simulate({ ...options, catalogue: catalogueFrom([expert]) });
    if (best === undefined || report.quality > best.quality) best = report;
  }
  if (best === undefined) throw new FleetError('usage.invalid', 'there is no expert to simulate');
  return best;
}

interface Comparison {
  readonly other: SimulationReport;
  readonly fleetgate: SimulationReport;
}

type Inputs = Omit<SimulationOptions, 'policy' | 'budgets' | 'optimiser'>;
type World = Pick<Inputs, 'arrivals' | 'catalogue' | 'churn' | 'devices' | 'gate' | 'prompts'>;

async function inputs(options: SimulateOptions, signal: AbortSignal): Promise<Inputs> {
  const { duplicate, hot, loss, reorder, restarts, slow } = options;
  const world = options.replay === true ? await runningWorld(options, signal) : await tracedWorld(options, signal);
  const arrivals = kept(world.arrivals, options);
  if (arrivals.length === 0) {
    throw new FleetError('usage.invalid', 'simulate: no arrivals are left', { hint: 'see --rate and --seconds' });
  }
  return {
    ...world,
    arrivals,
    faults: { duplicate, hot, loss, reorder, restarts, slow },
    seed: options.seed,
    log: silentLogger,
    realMs: () => performance.now(),
    signal,
    ...(options.speed === undefined ? {} : { speed: options.speed }),
  };
}

async function tracedWorld(options: SimulateOptions, signal: AbortSignal): Promise<World> {
  const { churn, devices, experts, outcomes, seed, trace } = options;
  if (trace === undefined) {
    throw new FleetError('usage.invalid', 'simulate: expected --trace FILE, or --replay', {
      hint: 'see `fleetgate simulate --help`',
    });
  }
  const arrivals = parseTrace(await readTextFile(trace), trace);
  const joins = churn === undefined ? [] : parseChurn(await readTextFile(churn), churn);
  printNote('simulate: training the gate on half of the outcomes');
  const { gate, prompts, ...minds } = await readMinds(outcomes, experts, seed, signal);
  if (minds.sizeUnknown.length > 0) {
    printNote(`simulate: names tell no size, taken for 7e9 parameters: ${minds.sizeUnknown.join(', ')}`);
  }
  const specs = boardSpecs(devices, minds.experts, new SeededRandom(seed));
  return { arrivals, catalogue: catalogueOf(minds.experts), churn: joins, devices: specs, gate, prompts };
}

/** The running fleet, asked what it has been asked. Its prompts are not kept: others of the same classes stand for them. */
async function runningWorld(options: SimulateOptions, signal: AbortSignal): Promise<World> {
  const client = new ApiClient(options);
  const { items: devices } = await client.get<ListBody<DeviceView>>('/api/v1/devices');
  const { items: experts } = await client.get<ListBody<ExpertView>>('/api/v1/experts');
  const records: RequestView[] = [];
  for (let before = ''; records.length < MOST_REPLAYED;) {
    const { items } = await client.get<ListBody<RequestView>>(`/api/v1/requests?limit=${PAGE}${before}`);
    records.push(...items);
    const last = items.at(-1);
    if (last === undefined || items.length < PAGE) break;
    before = `&before=${last.id}`;
  }
  const catalogue = catalogueFrom(experts);
  printNote(
    `simulate: ${records.length} records, ${devices.length} devices; training the gate on half of the outcomes`,
  );
  const { gate, prompts } = await readMinds(options.outcomes, undefined, options.seed, signal);
  return {
    arrivals: arrivalsFrom(records),
    catalogue,
    churn: [],
    devices: specsFrom(devices, catalogue),
    gate,
    prompts,
  };
}

/** The arrivals of the beginning, thinned evenly and stretched; the same ones each time. */
function kept(arrivals: readonly Arrival[], { rate, seconds, stretch }: SimulateOptions): readonly Arrival[] {
  const last = seconds === undefined ? Infinity : 1000 * seconds;
  return arrivals
    .filter((_, at) => Math.floor((at + 1) * rate) > Math.floor(at * rate))
    .map((arrival) => ({ ...arrival, atMs: stretch * arrival.atMs }))
    .filter(({ atMs }) => atMs <= last);
}

function print(reports: readonly SimulationReport[], equal: readonly Comparison[]): void {
  const [first] = reports;
  if (first === undefined) return;
  printLine(`${first.requests} requests in ${first.seconds.toFixed(0)} s`);
  printTable(
    [
      { title: 'policy', value: ({ policy }) => policy },
      { title: 'quality', value: ({ quality }) => quality.toFixed(4), align: 'right' },
      { title: 'served', value: ({ requests, succeeded }) => percent(succeeded / requests), align: 'right' },
      { title: 'refused', value: ({ refused }) => String(refused), align: 'right' },
      { title: 'failed', value: ({ cancelled, failed }) => String(failed + cancelled), align: 'right' },
      { title: 'lost', value: ({ lost }) => String(lost), align: 'right' },
      { title: 'mean W', value: ({ meanW }) => meanW.toFixed(1), align: 'right' },
      { title: 'budget', value: ({ budget }) => (budget === null ? '' : percent(budget.meanOver)), align: 'right' },
      {
        title: 'over/min',
        value: ({ budget }) => (budget === null ? '' : percent(budget.violationRatio)),
        align: 'right',
      },
      {
        title: 'J/answer',
        value: ({ energyJ, succeeded }) => (energyJ.requests / succeeded).toFixed(1),
        align: 'right',
      },
      { title: 'mean s', value: ({ latencyMs }) => (latencyMs.mean / 1000).toFixed(2), align: 'right' },
      { title: 'p95 s', value: ({ latencyMs }) => (latencyMs.p95 / 1000).toFixed(2), align: 'right' },
      { title: 'in bound', value: ({ withinBound }) => percent(withinBound), align: 'right' },
      { title: 'retried', value: ({ retried }) => String(retried), align: 'right' },
      { title: 'taken over', value: ({ takenOver }) => String(takenOver), align: 'right' },
      { title: 'plans', value: ({ plans }) => String(plans), align: 'right' },
      { title: 'speed', value: ({ speed }) => `${speed.toFixed(0)}x`, align: 'right' },
    ],
    reports,
  );
  printLine();
  for (const { policy } of reports) printLine(`${policy}: ${POLICY_TITLES[policy as PolicyName]}`);
  if (equal.length === 0) return;
  printLine();
  printTable(
    [
      { title: 'at the mean power of', value: ({ other }) => other.policy },
      { title: 'W', value: ({ other }) => other.meanW.toFixed(1), align: 'right' },
      { title: 'its quality', value: ({ other }) => other.quality.toFixed(4), align: 'right' },
      { title: 'fleetgate', value: ({ fleetgate }) => fleetgate.quality.toFixed(4), align: 'right' },
      { title: 'fleetgate W', value: ({ fleetgate }) => fleetgate.meanW.toFixed(1), align: 'right' },
    ],
    equal,
  );
}

const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;

function list(text: string): readonly string[] {
  return text.split(',').filter((name) => name !== '');
}

function policies(text: string): readonly PolicyName[] {
  if (text === 'all') return POLICIES;
  return list(text).map((name) => {
    const policy = POLICIES.find((one) => one === name);
    if (policy === undefined)
      throw new InvalidArgumentError(`expected some of ${POLICIES.join(', ')}, or all, got ${name}.`);
    return policy;
  });
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError(`expected a number above 0, got ${text}.`);
}

function atLeastZero(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError(`expected a number of at least 0, got ${text}.`);
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError(`expected a number from 0 to 1, got ${text}.`);
}
