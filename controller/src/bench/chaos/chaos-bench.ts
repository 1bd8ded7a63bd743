import { setTimeout as sleep } from 'node:timers/promises';

import { SeededRandom } from '@fleetgate/shared/random';

import type { BenchReport, Progress } from '../bench-report.js';
import type { ValidationPair } from '../disk-validation-pairs.js';
import type { HttpFleetClient } from '../http-fleet-client.js';
import { poissonArrivals } from '../load/arrivals.js';
import type { HttpLoadClient } from '../load/http-load-client.js';
import { offerOpenLoop } from '../load/open-loop.js';
import type { Offered } from '../load/outcome.js';
import { type KeptRecord, reconcile } from '../load/reconcile.js';
import { traceIds } from '../load/trace-ids.js';
import { untilIdle } from '../load/until-idle.js';
import { recordsByTrace } from './all-records.js';
import type { ChaosFleet } from './chaos-fleet.js';
import { chaosReport, type RoundSeen } from './chaos-report.js';
import { type ChaosFault, drawFaults, FAULT_KINDS } from './faults.js';
import { untilAnswered, untilWhole } from './recovery.js';

const MOST_AT_ONCE = 256;
/** Arrivals are drawn for that long; a round ends when the fleet is whole again. */
const LONGEST_ROUND_MS = 600_000;
/** Traces of the questions by which recovery is seen, among those of a round. */
const FIRST_PROBE = 1_000_000;

export interface ChaosPlan {
  readonly rounds: number;
  /** Requests a second, in the mean, whatever befalls. */
  readonly ratePerS: number;
  readonly seed: number;
}

export interface ChaosParts {
  readonly fleet: ChaosFleet;
  readonly client: HttpFleetClient;
  readonly load: HttpLoadClient;
  readonly pairs: readonly ValidationPair[];
}

/**
 * Fault after fault on a fleet of real processes that is asked all the time; after each, every request that was sent in its
 * round is held against the controller's records, and in the end all records against what they were.
 */
export async function chaosBench(
  parts: ChaosParts,
  plan: ChaosPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const { fleet, client } = parts;
  const random = new SeededRandom(plan.seed);
  const kinds = FAULT_KINDS.filter((kind) => !fleet.impossible.has(kind));
  const faults = drawFaults(random, plan.rounds, kinds, fleet);
  const ids = traceIds(plan.seed);
  const rounds: RoundSeen[] = [];
  const ended = new Map<string, KeptRecord>();
  for (const [at, fault] of faults.entries()) {
    signal.throwIfAborted();
    progress(`chaos: round ${at + 1} of ${faults.length}, ${fault.kind} ${fault.victim} for ${fault.lastsMs} ms`);
    const { offered, ...seen } = await runRound(parts, plan, fault, random, ids(at + 1), signal);
    const byTrace = await recordsByTrace(client);
    const records = offered.flatMap(({ traceId }) => byTrace.get(traceId) ?? []);
    for (const record of records) ended.set(record.id, record);
    const round = { ...seen, reconciliation: reconcile(offered, records) };
    rounds.push(round);
    progress(`chaos: ${said(round)}`);
  }
  const now = [...(await recordsByTrace(client)).values()].flat();
  return chaosReport({ plan, impossible: fleet.impossible, rounds, changed: changedRecords(ended, now) });
}

interface Run extends Omit<RoundSeen, 'reconciliation'> {
  readonly offered: readonly Offered[];
}

async function runRound(
  { fleet, client, load, pairs }: ChaosParts,
  { ratePerS }: ChaosPlan,
  fault: ChaosFault,
  random: SeededRandom,
  traceId: (at: number) => string,
  signal: AbortSignal,
): Promise<Run> {
  const over = new AbortController();
  const asked = offerOpenLoop(
    poissonArrivals(random, ratePerS, LONGEST_ROUND_MS, pairs),
    {
      now: () => performance.now(),
      sleep: (ms) => sleep(ms),
      send: (arrival, trace, dueAt) => load.offer(arrival, trace, dueAt),
      traceId,
      mostAtOnce: MOST_AT_ONCE,
    },
    AbortSignal.any([signal, over.signal]),
  );
  const probes: Offered[] = [];
  const seen = await befall(fleet, fault, signal)
    .then(async () => {
      const probeId = () => traceId(FIRST_PROBE + probes.length);
      const answeredMs = await untilAnswered(load, probeId, (probe) => probes.push(probe), signal);
      const wholeMs = await untilWhole(client, fleet.devices, signal);
      return { fault, answeredMs, wholeMs };
    })
    .finally(() => over.abort());
  const offered = [...(await asked), ...probes];
  const isIdle = await untilIdle(client, signal).catch(() => false);
  return { ...seen, offered, isIdle };
}

/** What has begun ends, whatever comes between. */
async function befall(fleet: ChaosFleet, fault: ChaosFault, signal: AbortSignal): Promise<void> {
  await sleep(fault.beginsAfterMs, undefined, { signal });
  try {
    await fleet.begin(fault);
    await sleep(fault.lastsMs, undefined, { signal });
  } finally {
    await fleet.end(fault);
  }
}

/** Requests that had ended once and have another end now, or none. */
function changedRecords(ended: ReadonlyMap<string, KeptRecord>, now: readonly KeptRecord[]): readonly string[] {
  const states = new Map(now.map(({ id, state }) => [id, state]));
  return [...ended.values()]
    .filter(({ id, state }) => states.get(id) !== state)
    .map(({ id, state }) => `${id}: was ${state}, is ${states.get(id) ?? 'gone'}`);
}

function said({ answeredMs, wholeMs, reconciliation }: RoundSeen): string {
  const after = (ms: number | undefined) => (ms === undefined ? 'never' : `after ${(ms / 1000).toFixed(1)} s`);
  const { offered, lost } = reconciliation;
  return `answers ${after(answeredMs)}, whole ${after(wholeMs)}; ${offered} requests, ${lost.length} lost`;
}
