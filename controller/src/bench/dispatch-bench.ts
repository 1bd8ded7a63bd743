import type { ListBody, RequestView } from '@fleetgate/shared/api/operations';

import { type BenchReport, type BenchTable, figure, type Progress } from './bench-report.js';
import type { ValidationPair } from './disk-validation-pairs.js';
import { type Distribution, distributionOf, meanOf } from './distribution.js';
import { askStreaming } from './fleet-client.js';
import type { HttpFleetClient } from './http-fleet-client.js';
import { cpuSecondsOf } from './metrics-text.js';

const ANSWER_TOKENS = 32;
/** A record is written when its request has ended, which the client learns a moment before. */
const RECORD_TRIES = 20;
const RECORD_PAUSE_MS = 50;
const PREDICTION_SAMPLE = 500;

/**
 * What the way through gate, dispatcher and messages adds to the engine's own time: client-side times of streamed
 * requests, one at a time, less the waiting, reading and writing that the device reports for the same request.
 */
export async function dispatchBench(
  client: HttpFleetClient,
  pairs: readonly ValidationPair[],
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const [totals, firsts, engineTotals, engineFirsts]: number[][] = [[], [], [], []];
  const cpuBefore = cpuSecondsOf(await client.text('/metrics').catch(() => ''));
  for (const [at, pair] of pairs.entries()) {
    signal.throwIfAborted();
    if (at % 10 === 0) progress(`dispatch: request ${at + 1} of ${pairs.length}`);
    const answer = await askStreaming(client, 'auto', pair.prompt, ANSWER_TOKENS);
    const actual = (await recordOf(client, answer.requestId))?.actual;
    if (actual?.engine === undefined || Number.isNaN(answer.firstTokenMs)) continue;
    const { queueMs, prefillMs, decodeMs } = actual.engine;
    const perToken = decodeMs / Math.max(1, actual.outputTokens);
    totals?.push(answer.totalMs);
    engineTotals?.push(queueMs + prefillMs + decodeMs);
    firsts?.push(answer.firstTokenMs);
    engineFirsts?.push(queueMs + prefillMs + perToken);
  }
  const cpuAfter = cpuSecondsOf(await client.text('/metrics').catch(() => ''));
  const added = (ours: readonly number[] = [], engine: readonly number[] = []) =>
    distributionOf(ours.map((value, at) => value - (engine[at] ?? NaN)));
  const addedFirst = added(firsts, engineFirsts);
  const addedTotal = added(totals, engineTotals);
  const { items } = await client.get<ListBody<RequestView>>(`/api/v1/requests?limit=${PREDICTION_SAMPLE}`);
  return {
    name: 'dispatch',
    figures: [
      figure('time to first token through the API, mean', 'ms', meanOf(firsts ?? []), {
        name: 'engine called directly',
        value: meanOf(engineFirsts ?? []),
      }),
      figure('whole answer through the API, mean', 'ms', meanOf(totals ?? []), {
        name: 'engine called directly',
        value: meanOf(engineTotals ?? []),
      }),
      figure('added to the first token, median', 'ms', addedFirst.p50),
      figure('added to the whole answer, median', 'ms', addedTotal.p50),
      ...(cpuBefore === undefined || cpuAfter === undefined
        ? []
        : [figure('CPU of the controller per request', 'ms', (1000 * (cpuAfter - cpuBefore)) / pairs.length)]),
    ],
    tables: [
      spreadTable('added latency, ms', [
        ['first token', addedFirst],
        ['whole answer', addedTotal],
      ]),
      predictionTable(items),
    ],
    notes: [
      `${totals?.length ?? 0} requests of up to ${ANSWER_TOKENS} tokens, one at a time, streamed`,
      "engine called directly: the device's own queue, prefill and decode time of the same request; its first token is counted as prefill and one decode step",
      'CPU of the controller includes telemetry, planning and the decision record of this time',
    ],
  };
}

/** Relative errors of predicted latency and energy over finished generations. Pure. */
export function predictionTable(records: readonly RequestView[]): BenchTable {
  const ended = records.filter((record) => record.state === 'succeeded' && (record.actual?.outputTokens ?? 0) > 0);
  const errors = (of: (cost: { readonly latencyMs: number; readonly energyJ: number }) => number) =>
    ended.flatMap(({ predicted, actual }) => {
      if (predicted === null || actual === null || !(of(actual) > 0)) return [];
      return [of(predicted) / of(actual) - 1];
    });
  const latency = errors((cost) => cost.latencyMs);
  const energy = errors((cost) => cost.energyJ);
  const absolute = (values: readonly number[]) => distributionOf(values.map(Math.abs));
  return spreadTable(`predicted / actual - 1 over ${ended.length} finished requests`, [
    ['latency', distributionOf(latency)],
    ['latency, absolute', absolute(latency)],
    ['energy', distributionOf(energy)],
    ['energy, absolute', absolute(energy)],
  ]);
}

function spreadTable(title: string, rows: readonly (readonly [string, Distribution])[]): BenchTable {
  const show = (value: number) => (Number.isNaN(value) ? '-' : value.toFixed(2));
  return {
    title,
    columns: ['', 'count', 'mean', 'p10', 'p50', 'p90', 'p99'],
    rows: rows.map(([name, { count, mean, p10, p50, p90, p99 }]) => [
      name,
      count,
      ...[mean, p10, p50, p90, p99].map(show),
    ]),
  };
}

async function recordOf(client: HttpFleetClient, requestId: string): Promise<RequestView | undefined> {
  for (let tries = 0; tries < RECORD_TRIES; tries++) {
    const record = await client.get<RequestView>(`/api/v1/requests/${requestId}`).catch(() => undefined);
    if (record !== undefined && record.endedAtMs !== null) return record;
    await new Promise((resolve) => setTimeout(resolve, RECORD_PAUSE_MS));
  }
  return undefined;
}
