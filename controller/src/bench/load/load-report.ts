import { type BenchFigure, type BenchReport, type BenchTable, figure } from '../bench-report.js';
import { quantile } from '../distribution.js';
import type { Befallen } from './fault-run.js';
import type { LoadPlan } from './load-bench.js';
import { type Offered, promiseBroken } from './outcome.js';
import type { KeptRecord, Reconciliation } from './reconcile.js';
import type { Sample } from './samples.js';

/** Faults told one by one; the rest is counted. */
const MOST_TOLD = 20;
const MIB = 1024 * 1024;

/** What was seen of one phase, on both sides. */
export interface PhaseSeen {
  readonly share: number;
  readonly ratePerS: number;
  readonly offered: readonly Offered[];
  readonly befallen: readonly Befallen[];
  readonly records: readonly KeptRecord[];
  readonly reconciliation: Reconciliation;
  /** Counters of the controller: by how much they grew. */
  readonly counted: ReadonlyMap<string, number>;
  readonly samples: readonly Sample[];
  /** When everything had ended. */
  readonly ended: Sample;
  readonly isIdle: boolean;
  readonly missedSweeps: number;
}

export interface LoadSeen {
  /** Answers a second. */
  readonly capacity: number;
  readonly plan: LoadPlan;
  readonly start: Sample;
  readonly phases: readonly PhaseSeen[];
  readonly missedSamples: ReadonlyMap<string, number>;
}

export function loadReport({ capacity, plan, start, phases, missedSamples }: LoadSeen): BenchReport {
  const faults = phases.flatMap(faultsOf);
  return {
    name: 'load',
    figures: [
      figure('capacity in a closed loop', 'answers/s', capacity),
      figure(
        'offered',
        'requests',
        sumOf(phases, ({ reconciliation }) => reconciliation.offered),
      ),
      figure('lost, or without an end', 'requests', sumOf(phases, lostIn)),
      figure(
        'recorded once, ended, and as the client saw it',
        'requests',
        sumOf(phases, (one) => one.reconciliation.agreed),
      ),
      ...phases.flatMap(latencies),
    ],
    tables: [
      table('what became of them', phases, OUTCOMES),
      endsTable(phases),
      table('queues and the client, most at any second', phases, QUEUES),
      memoryTable(start, phases),
      faultTable(phases),
    ],
    notes: [
      `Poisson arrivals, seed ${plan.seed}, ${plan.phaseMs / 1000} s a phase, model auto, half of them streamed, answers of up to 8 to 128 tokens; latency counts from when a request was due`,
      'joined by trace and request id; lost: answered by the controller, and not in its records',
      'memory: resident, of a process and all below it, pages that they share counted in each',
      ...[...missedSamples].map(([why, count]) => `${count} seconds were not looked at: ${why}`),
      ...faults.slice(0, MOST_TOLD).map((fault) => `FAULT ${fault}`),
      ...(faults.length > MOST_TOLD ? [`FAULT ${faults.length - MOST_TOLD} more`] : []),
    ],
  };
}

/** Requests of a phase that are not where they have to be. */
export function lostIn({ reconciliation }: Pick<PhaseSeen, 'reconciliation'>): number {
  return reconciliation.lost.length + reconciliation.unended.length;
}

/** What must not happen. */
function faultsOf(phase: PhaseSeen): readonly string[] {
  const { reconciliation, offered, befallen, isIdle, missedSweeps, counted, records } = phase;
  const named = (what: string, faults: readonly string[]) =>
    faults.map((fault) => `${percent(phase)}, ${what}: ${fault}`);
  const promises = new Map<string, number>();
  for (const { outcome } of offered) {
    const broken = promiseBroken(outcome);
    if (broken !== undefined) promises.set(broken, (promises.get(broken) ?? 0) + 1);
  }
  const foreign = records.filter(({ traceId }) => traceId === undefined).length;
  const counts = (['succeeded', 'failed', 'refused', 'cancelled'] as const).flatMap((state) => {
    const recorded = records.filter((record) => record.state === state).length;
    const grown = counted.get(state) ?? 0;
    return recorded === grown ? [] : [`${state}: ${recorded} records, ${grown} by the metrics`];
  });
  return [
    ...named('lost', reconciliation.lost),
    ...named('not ended', reconciliation.unended),
    ...named('more than one end', reconciliation.repeated),
    ...named('ended otherwise than the client saw', reconciliation.disagreeing),
    ...named('counts differ', counts),
    ...named(
      'answers',
      [...promises].map(([what, count]) => `${count} times ${what}`),
    ),
    ...named('records', foreign > 0 ? [`${foreign} of others`] : []),
    ...named(
      'agents',
      befallen.flatMap(({ device, kind, backAfterS }) =>
        backAfterS === undefined ? [`${device} is not back after its ${kind}`] : [],
      ),
    ),
    ...named(
      'end',
      isIdle
        ? []
        : [
            `requests or jobs are still under way: ${phase.ended.inFlight}, ${phase.ended.running + phase.ended.waiting}`,
          ],
    ),
    ...named('records', missedSweeps > 0 ? [`${missedSweeps} times they could not be read`] : []),
  ];
}

type Row = readonly [what: string, of: (phase: PhaseSeen) => number | string];

const isAnswered = ({ outcome }: Offered): boolean => outcome.kind === 'answered';
const outcomes = (kind: Offered['outcome']['kind']) => (phase: PhaseSeen) =>
  phase.offered.filter(({ outcome }) => outcome.kind === kind).length;
const recordsWith = (is: (record: KeptRecord) => boolean) => (phase: PhaseSeen) => phase.records.filter(is).length;
const counted = (name: string) => (phase: PhaseSeen) => phase.counted.get(name) ?? 0;
const most = (of: (sample: Sample) => number) => (phase: PhaseSeen) => Math.max(0, ...phase.samples.map(of));
const energy = (is: (record: KeptRecord) => boolean) => (phase: PhaseSeen) =>
  rounded(sumOf(phase.records.filter(is), ({ energyJ }) => energyJ));

const OUTCOMES: readonly Row[] = [
  ['offered, a second', ({ ratePerS }) => rounded(ratePerS)],
  ['due', ({ offered }) => offered.length],
  ['answered', outcomes('answered')],
  ['refused or failed by an HTTP answer', outcomes('refused')],
  ['broken off in their stream', outcomes('broken')],
  ['disconnected', outcomes('disconnected')],
  ['not offered in time', outcomes('unoffered')],
  ['lost or without an end', lostIn],
  ['attempts after the first', counted('retries')],
  ['requests with more than one attempt', recordsWith(({ attempts }) => attempts > 1)],
  ['answers taken over', counted('takeovers')],
  ['hedged', recordsWith(({ hedges }) => hedges > 0)],
  ['answered by several experts', recordsWith(({ joint }) => joint)],
  ['messages that came too late', counted('late')],
  ['J in all', energy(() => true)],
  ['J of what did not succeed', energy(({ state }) => state !== 'succeeded')],
];

const QUEUES: readonly Row[] = [
  ['requests under way', most(({ inFlight }) => inFlight)],
  ['jobs that devices run', most(({ running }) => running)],
  ['jobs that wait for a device', most(({ waiting }) => waiting)],
  ['records not yet written', most(({ recordsWaiting }) => recordsWaiting)],
  ['jobs at one device, by its telemetry', most(({ deviceJobs }) => Math.max(0, ...deviceJobs.values()))],
  ['client sent late, 99 %, ms', ({ offered }) => rounded(quantile(sorted(offered.map(({ lateMs }) => lateMs)), 0.99))],
  ['client sent late, most, ms', ({ offered }) => rounded(Math.max(0, ...offered.map(({ lateMs }) => lateMs)))],
];

function table(title: string, phases: readonly PhaseSeen[], rows: readonly Row[]): BenchTable {
  return { title, columns: ['', ...phases.map(percent)], rows: rows.map(([what, of]) => [what, ...phases.map(of)]) };
}

function endsTable(phases: readonly PhaseSeen[]): BenchTable {
  const rows = phases.flatMap((phase) =>
    phase.reconciliation.ends.map(([client, record, count]) => [percent(phase), client, record, count] as const),
  );
  return { title: 'ends, as the client and the record have them', columns: ['', 'client', 'record', 'requests'], rows };
}

function memoryTable(start: Sample, phases: readonly PhaseSeen[]): BenchTable {
  const at = (sample: Sample, name: string) => Math.round((sample.residentBytes.get(name) ?? 0) / MIB);
  return {
    title: 'memory, MiB: before, and of each phase the most and after it',
    columns: ['', 'before', ...phases.flatMap((phase) => [`${percent(phase)} most`, 'after'])],
    rows: [...start.residentBytes.keys()].map((name) => [
      name,
      at(start, name),
      ...phases.flatMap((phase) => [Math.max(0, ...phase.samples.map((one) => at(one, name))), at(phase.ended, name)]),
    ]),
  };
}

function faultTable(phases: readonly PhaseSeen[]): BenchTable {
  const seconds = (value: number | undefined) => (value === undefined ? '-' : value.toFixed(1));
  return {
    title: 'agents killed and frozen, s',
    columns: ['', 'agent', 'what', 'at', 'for', 'seen offline after', 'back after'],
    rows: phases.flatMap((phase) =>
      phase.befallen.map((one) => [
        percent(phase),
        one.device,
        one.kind,
        ...[one.atS, one.forS, one.offlineAfterS, one.backAfterS].map(seconds),
      ]),
    ),
  };
}

function latencies(phase: PhaseSeen): readonly BenchFigure[] {
  const answered = phase.offered.filter(isAnswered);
  const firsts = sorted(answered.flatMap(({ firstTokenMs }) => (firstTokenMs === undefined ? [] : [firstTokenMs])));
  const wholes = sorted(answered.map(({ totalMs }) => totalMs));
  return [
    ...([0.5, 0.95, 0.99] as const).map((share) =>
      figure(`${percent(phase)}: first token, p${100 * share}`, 'ms', quantile(firsts, share)),
    ),
    ...([0.5, 0.95, 0.99] as const).map((share) =>
      figure(`${percent(phase)}: whole answer, p${100 * share}`, 'ms', quantile(wholes, share)),
    ),
  ];
}

const percent = ({ share }: Pick<PhaseSeen, 'share'>): string => `${Math.round(100 * share)} %`;
const sorted = (values: readonly number[]): readonly number[] => values.toSorted((a, b) => a - b);
const rounded = (value: number): number => Number(value.toPrecision(4));

function sumOf<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}
