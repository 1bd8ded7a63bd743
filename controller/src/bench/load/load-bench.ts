import { setTimeout as sleep } from 'node:timers/promises';

import { SeededRandom } from '@fleetgate/shared/random';

import type { BenchReport, Progress } from '../bench-report.js';
import type { ValidationPair } from '../disk-validation-pairs.js';
import type { HttpFleetClient } from '../http-fleet-client.js';
import { metricSum } from '../metrics-text.js';
import { poissonArrivals } from './arrivals.js';
import { measureCapacity } from './capacity.js';
import { runFaults } from './fault-run.js';
import { drawFaults } from './faults.js';
import type { HttpLoadClient } from './http-load-client.js';
import { treeResidentBytes } from './linux-process-tree.js';
import type { LoadFleet } from './load-fleet.js';
import { loadReport, type PhaseSeen } from './load-report.js';
import { offerOpenLoop } from './open-loop.js';
import { reconcile } from './reconcile.js';
import { RecordSweep } from './record-sweep.js';
import { look, Sampler } from './samples.js';
import { traceIds } from './trace-ids.js';
import { untilIdle } from './until-idle.js';

/** Twice what the controller takes at once: more is its to refuse, not ours to hold back. */
const MOST_AT_ONCE = 512;
const SWEEP_EVERY_MS = 60_000;
const COUNTERS = ['retries', 'takeovers'] as const;

export interface LoadPlan {
  readonly phaseMs: number;
  /** Offered load of each phase, as a share of the capacity. */
  readonly shares: readonly number[];
  readonly capacity: { readonly warmUpMs: number; readonly forMs: number };
  readonly seed: number;
}

export interface LoadParts {
  readonly fleet: LoadFleet;
  readonly client: HttpFleetClient;
  readonly load: HttpLoadClient;
  readonly pairs: readonly ValidationPair[];
}

/** Open-loop load with faults on a fleet that nobody else uses, and what became of every single request. */
export async function loadBench(
  parts: LoadParts,
  plan: LoadPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const { fleet, client, load, pairs } = parts;
  const random = new SeededRandom(plan.seed);
  const residentBytes = async (): Promise<ReadonlyMap<string, number>> =>
    new Map(
      await Promise.all([...fleet.pids()].map(async ([name, pid]) => [name, await treeResidentBytes(pid)] as const)),
    );
  progress('load: measuring the capacity');
  const ids = traceIds(plan.seed);
  const capacity = await measureCapacity(load, pairs, random, ids(0), plan.capacity, signal);
  progress(`load: ${capacity.toFixed(1)} answers a second in a closed loop`);
  const sweep = new RecordSweep(client);
  const looker = { client, residentBytes };
  await untilIdle(client, signal);
  await sweep.sweep();
  const start = await look(looker);
  const sampler = new Sampler(looker);
  const phases: PhaseSeen[] = [];
  try {
    for (const [at, share] of plan.shares.entries()) {
      const ratePerS = capacity * share;
      progress(`load: ${Math.round(100 * share)} % of it, ${ratePerS.toFixed(1)} a second`);
      const arrivals = poissonArrivals(random, ratePerS, plan.phaseMs, pairs);
      const faults = drawFaults(random, plan.phaseMs);
      const before = await countsOf(client);
      sweep.begin();
      sampler.taken();
      const over = new AbortController();
      const swept = sweepNowAndThen(sweep, over.signal);
      // Where one part of it cannot go on, neither does the other.
      const either = AbortSignal.any([signal, over.signal]);
      const [offered, befallen] = await Promise.all([
        offerOpenLoop(
          arrivals,
          {
            now: () => performance.now(),
            sleep: (ms) => sleep(ms),
            send: (arrival, traceId, dueAt) => load.offer(arrival, traceId, dueAt),
            traceId: ids(at + 1),
            mostAtOnce: MOST_AT_ONCE,
          },
          either,
        ),
        runFaults(faults, fleet, client, progress, either),
      ]).finally(() => over.abort());
      signal.throwIfAborted();
      const missedSweeps = await swept;
      const isIdle = await untilIdle(client, signal);
      await sweep.sweep();
      const after = await countsOf(client);
      phases.push({
        share,
        ratePerS,
        offered,
        befallen,
        records: [...sweep.records],
        reconciliation: reconcile(offered, sweep.records),
        counted: differences(before, after),
        samples: sampler.taken(),
        ended: await look(looker),
        isIdle,
        missedSweeps,
      });
    }
  } finally {
    sampler.stop();
  }
  return loadReport({ capacity, plan, start, phases, missedSamples: sampler.failures });
}

/** Returns what went wrong. */
async function sweepNowAndThen(sweep: RecordSweep, until: AbortSignal): Promise<number> {
  let missed = 0;
  while (!until.aborted) {
    await sleep(SWEEP_EVERY_MS, undefined, { signal: until }).catch(() => {});
    if (until.aborted) break;
    await sweep.sweep().catch(() => {
      missed += 1;
    });
  }
  return missed;
}

/** Counters of the controller, those of ended requests by state. */
async function countsOf(client: HttpFleetClient): Promise<ReadonlyMap<string, number>> {
  const metrics = await client.text('/metrics');
  return new Map([
    ...(['succeeded', 'failed', 'refused', 'cancelled'] as const).map(
      (state) => [state, metricSum(metrics, 'fleetgate_requests_total', { state })] as const,
    ),
    ...COUNTERS.map((name) => [name, metricSum(metrics, `fleetgate_dispatch_${name}_total`)] as const),
    ['records dropped', metricSum(metrics, 'fleetgate_records_dropped_total')] as const,
    ...(['duplicate', 'late', 'foreign', 'overflow'] as const).map(
      (reason) => [reason, metricSum(metrics, 'fleetgate_dispatch_ignored_messages_total', { reason })] as const,
    ),
  ]);
}

function differences(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  return new Map([...after].map(([name, count]) => [name, count - (before.get(name) ?? 0)]));
}
