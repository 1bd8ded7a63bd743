import { type BenchReport, type BenchTable, figure } from '../bench-report.js';
import type { Reconciliation } from '../load/reconcile.js';
import type { ChaosPlan } from './chaos-bench.js';
import type { ChaosFault, FaultKind } from './faults.js';

/** Told one by one; the rest is counted. */
const MOST_TOLD = 20;

export interface RoundSeen {
  readonly fault: ChaosFault;
  /** From the end of the fault until a request was answered; undefined: none was. */
  readonly answeredMs: number | undefined;
  /** From then on until every device had what it is to have. */
  readonly wholeMs: number | undefined;
  /** Whether all that was under way came to its end. */
  readonly isIdle: boolean;
  readonly reconciliation: Reconciliation;
}

export interface ChaosSeen {
  readonly plan: ChaosPlan;
  readonly impossible: ReadonlyMap<FaultKind, string>;
  readonly rounds: readonly RoundSeen[];
  /** Requests whose end is another one now than it was after their round. */
  readonly changed: readonly string[];
}

export function chaosReport({ plan, impossible, rounds, changed }: ChaosSeen): BenchReport {
  const counted = (count: (of: Reconciliation) => number) =>
    rounds.reduce((sum, { reconciliation }) => sum + count(reconciliation), 0);
  const faults = [...rounds.flatMap(faultsOf), ...changed.map((one) => `another end later: ${one}`)];
  return {
    name: 'chaos',
    figures: [
      figure('faults', 'rounds', rounds.length),
      figure(
        'sent',
        'requests',
        counted((of) => of.offered),
      ),
      figure(
        'accepted and lost, or without an end',
        'requests',
        counted((of) => of.lost.length + of.unended.length),
      ),
      figure('with more than one end', 'requests', counted((of) => of.repeated.length) + changed.length),
      figure(
        'ended otherwise than the client saw',
        'requests',
        counted((of) => of.disagreeing.length),
      ),
      figure(
        'not back',
        'rounds',
        rounds.filter(({ answeredMs, wholeMs }) => answeredMs === undefined || wholeMs === undefined).length,
      ),
    ],
    tables: [recoveryTable(rounds), endsTable(rounds)],
    notes: [
      `seed ${plan.seed}; ${plan.ratePerS} requests a second (Poisson) all the time, half of them streamed, on top of one that is repeated until it is answered`,
      'answers after: from the end of a fault; whole after: from then until every device has what it is to have',
      'a request that never reached the controller, which was down, is none that it accepted',
      ...[...impossible].map(([kind, why]) => `not tried: ${kind}, ${why}`),
      ...faults.slice(0, MOST_TOLD).map((fault) => `FAULT ${fault}`),
      ...(faults.length > MOST_TOLD ? [`FAULT ${faults.length - MOST_TOLD} more`] : []),
    ],
  };
}

/** What must not happen. */
function faultsOf({ fault, answeredMs, wholeMs, isIdle, reconciliation }: RoundSeen): readonly string[] {
  const { lost, unended, repeated, disagreeing } = reconciliation;
  const named = (what: string, which: readonly string[]) =>
    which.map((one) => `${fault.kind} ${fault.victim}, ${what}: ${one}`);
  return [
    ...named('lost', lost),
    ...named('not ended', unended),
    ...named('more than one end', repeated),
    ...named('ended otherwise than the client saw', disagreeing),
    ...named('recovery', answeredMs === undefined ? ['no answer'] : []),
    ...named('recovery', wholeMs === undefined ? ['the fleet is not whole'] : []),
    ...named('recovery', isIdle ? [] : ['something is still under way']),
  ];
}

function recoveryTable(rounds: readonly RoundSeen[]): BenchTable {
  const kinds = [...new Set(rounds.map(({ fault }) => fault.kind))].toSorted();
  return {
    title: 'recovery, seconds: middle (longest)',
    columns: ['fault', 'rounds', 'requests', 'answers after', 'whole after'],
    rows: kinds.map((kind) => {
      const of = rounds.filter(({ fault }) => fault.kind === kind);
      const requests = of.reduce((sum, { reconciliation }) => sum + reconciliation.offered, 0);
      const times = (ms: (round: RoundSeen) => number | undefined) =>
        seconds(of.map((round) => ms(round) ?? Infinity).toSorted((a, b) => a - b));
      return [kind, of.length, requests, times((round) => round.answeredMs), times((round) => round.wholeMs)];
    }),
  };
}

function seconds(sorted: readonly number[]): string {
  const [middle = 0, longest = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted.at(-1)];
  const said = (ms: number) => (Number.isFinite(ms) ? (ms / 1000).toFixed(1) : 'never');
  return `${said(middle)} (${said(longest)})`;
}

function endsTable(rounds: readonly RoundSeen[]): BenchTable {
  const ends = new Map<string, number>();
  for (const { reconciliation } of rounds) {
    for (const [client, record, count] of reconciliation.ends) {
      const key = JSON.stringify([client, record]);
      ends.set(key, (ends.get(key) ?? 0) + count);
    }
  }
  return {
    title: 'ends, as client and record say',
    columns: ['client', 'record', 'requests'],
    rows: [...ends]
      .toSorted((a, b) => b[1] - a[1])
      .map(([key, count]) => [...(JSON.parse(key) as [string, string]), count]),
  };
}
