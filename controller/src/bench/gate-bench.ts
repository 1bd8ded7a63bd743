import type { ExpertView, ListBody } from '@fleetgate/shared/api/operations';

import type { BenchReport, BenchTable, Progress } from './bench-report.js';
import type { ValidationPair } from './disk-validation-pairs.js';
import { ask, scoreAnswer } from './fleet-client.js';
import { type GateFigures, gateFigures, type GateSample } from './gate-figures.js';
import type { HttpFleetClient } from './http-fleet-client.js';
import type { OfflineScores } from './process-offline-scores.js';

/** The choice is made before the first token; a short answer is enough to see it. */
const ANSWER_TOKENS = 4;

/**
 * Sends validation prompts through the running system and scores their reference answers under the expert that the fleet
 * chose and under every other: does the gate find the right expert, and what is that worth?
 *
 * Experts that the plan serves nowhere are scored by `offline`.
 */
export async function gateBench(
  client: HttpFleetClient,
  pairs: readonly ValidationPair[],
  offline: () => Promise<OfflineScores>,
  progress: Progress,
  signal: AbortSignal,
): Promise<BenchReport> {
  const { items } = await client.get<ListBody<ExpertView>>('/api/v1/experts');
  const all = items.map((expert): string => expert.id).sort();
  const samples: GateSample[] = [];
  const unserved = new Set<string>();
  for (const [at, pair] of pairs.entries()) {
    signal.throwIfAborted();
    if (at % 10 === 0) progress(`gate: prompt ${at + 1} of ${pairs.length}`);
    const { expert: chosen } = await ask(client, 'auto', pair.prompt, ANSWER_TOKENS);
    const bits: Record<string, number> = {};
    let bytes = 0;
    for (const expert of all) {
      if (unserved.has(expert) && expert !== chosen) continue;
      const score = await scoreAnswer(client, expert, pair.prompt, pair.completion);
      if (score === undefined) {
        unserved.add(expert);
        continue;
      }
      bits[expert] = score.bits;
      bytes = score.bytes;
    }
    samples.push({ domain: pair.domain, chosen, bits, bytes });
  }
  const notes = [
    `${pairs.length} validation prompts; the gate was trained on training prompts only`,
    'bits per byte: bits over bytes of a domain, averaged over domains; the oracle takes the best expert of each prompt',
  ];
  let complete: readonly GateSample[] = samples;
  if (unserved.size > 0) {
    const names = [...unserved].sort().join(', ');
    progress(`gate: the plan serves ${names} nowhere; scoring with fleetgate outcomes`);
    const scores = await offline();
    complete = samples.map((sample, at) => withOffline(sample, scores[at] ?? {}, unserved));
    notes.push(`served nowhere by the plan, so scored on this machine by fleetgate outcomes: ${names}`);
    notes.push(`the two ways of scoring differ by at most ${largestDifference(samples, scores).toFixed(3)} bit/byte`);
  }
  const experts = all.filter((expert) => complete.every((sample) => expert in sample.bits));
  const figures = gateFigures(complete, experts);
  return { name: 'gate', figures: figures.figures, tables: [confusionTable(figures), domainTable(figures)], notes };
}

function withOffline(
  sample: GateSample,
  bitsPerByte: Readonly<Record<string, number>>,
  unserved: ReadonlySet<string>,
): GateSample {
  const added = Object.entries(bitsPerByte)
    .filter(([expert]) => unserved.has(expert))
    .map(([expert, perByte]) => [expert, perByte * sample.bytes] as const);
  return { ...sample, bits: { ...Object.fromEntries(added), ...sample.bits } };
}

function largestDifference(samples: readonly GateSample[], scores: OfflineScores): number {
  const differences = samples.flatMap((sample, at) =>
    Object.entries(sample.bits).map(([expert, bits]) =>
      Math.abs(bits / sample.bytes - (scores[at]?.[expert] ?? bits / sample.bytes)),
    ),
  );
  return Math.max(0, ...differences);
}

function confusionTable({ confusion }: GateFigures): BenchTable {
  const chosen = [...new Set(Object.values(confusion).flatMap((row) => Object.keys(row)))].sort();
  return {
    title: 'prompts by domain and chosen expert',
    columns: ['domain', ...chosen],
    rows: Object.entries(confusion).map(([domain, row]) => [domain, ...chosen.map((expert) => row[expert] ?? 0)]),
  };
}

function domainTable({ byDomain }: GateFigures): BenchTable {
  const columns = [...new Set(Object.values(byDomain).flatMap((row) => Object.keys(row)))];
  return {
    title: 'bits per byte of reference answers (lower is better)',
    columns: ['answered by', ...columns],
    rows: Object.entries(byDomain).map(([who, row]) => [
      who,
      ...columns.map((column) => (row[column] ?? NaN).toFixed(3)),
    ]),
  };
}
