import { type Command, InvalidArgumentError } from 'commander';

import { previousTokenReuse, segmentCache, segmentRouting } from '../slabs/consistency.js';
import { forecastOffload, type MissPoint, missCurve, type OffloadForecast } from '../slabs/offload-advice.js';
import { layerTraces, type TraceDocument, type TraceHeader } from '../slabs/trace.js';
import { positiveInteger } from './slab-profile.js';
import { readTrace } from './slab-trace.js';

interface ConsistencyOptions {
  readonly segment: number;
  readonly slabBudgetMb?: number;
  readonly storageMbS: number;
  readonly computeMs: number;
  readonly json?: boolean;
}

interface LayerConsistency {
  readonly layer: number;
  readonly srp: number;
  readonly groupSize: number;
  readonly previousTokenReuse: number;
  /** SCH by cache size. */
  readonly sch: readonly { readonly slabs: number; readonly hitRatio: number }[];
}

type Verdict = 'all in memory' | 'worth it' | 'slow' | 'too small';
interface OffloadAdvice extends Partial<OffloadForecast> {
  readonly verdict: Verdict;
  readonly reason: string;
}

/** Tokens that the simulated caches see: enough to tell hit ratios apart by a percent. */
const MOST_SIMULATED = 20_000;
const CURVE_SHARES = [0.1, 0.2, 0.35, 0.5, 0.7, 0.9];
/** Reading is as fast as people do. */
const READING_TOKENS_PER_S = 5;

/** Adds `gguf consistency`: whether a model is worth offloading. */
export function registerGgufConsistency(gguf: Command): void {
  gguf
    .command('consistency')
    .description('how alike the choices of consecutive tokens are (SRP, SCH), and what that means for offloading')
    .argument('<trace>', 'what gguf trace wrote')
    .option('--segment <n>', 'tokens of a segment', positiveInteger, 16)
    .option('--slab-budget-mb <n>', 'memory for slabs to advise on, MB (default: half of all slabs)', positive)
    .option('--storage-mb-s <n>', 'how fast the device reads, MB/s (`fleetgate doctor` measures it)', positive, 90)
    .option(
      '--compute-ms <n>',
      'time of a token whose slabs are all in memory, ms (default: 0, storage alone)',
      positive,
      0,
    )
    .option('--json', 'print one JSON document')
    .action(consistency);
}

async function consistency(file: string, options: ConsistencyOptions): Promise<void> {
  const { header, documents } = await readTrace(file);
  const { model } = header;
  const { segment } = options;
  const sizes = [1, 1.5, 2, 3, 4].map((factor) => Math.round(factor * model.slabsPerToken));
  const cacheSizes = [...new Set(sizes)].filter((slabs) => slabs <= model.slabsPerLayer);
  const tracesOf = model.layers.map((_, l) => layerTraces(documents, l));
  const layers: LayerConsistency[] = model.layers.map((layer, l) => {
    const traces = tracesOf[l] ?? [];
    return {
      layer,
      ...segmentRouting(traces, segment),
      previousTokenReuse: previousTokenReuse(traces),
      sch: cacheSizes.map((slabs) => ({ slabs, hitRatio: segmentCache(traces, segment, slabs) })),
    };
  });
  const mean = (of: (layer: LayerConsistency) => number): number =>
    layers.reduce((sum, one) => sum + of(one), 0) / layers.length;
  const slabBudgetBytes = options.slabBudgetMb === undefined ? model.slabsBytes / 2 : options.slabBudgetMb * 1e6;
  const curve = curveOf(header, documents, slabBudgetBytes);
  const forecast = forecastOffload(curve, model.slabsBytes, {
    budgetBytes: slabBudgetBytes,
    bytesPerSecond: options.storageMbS * 1e6,
    computeMs: options.computeMs,
  });
  const result = {
    segment,
    tokens: documents.reduce((sum, { slabs }) => sum + slabs.length, 0),
    srp: segmentRouting(tracesOf.flat(), segment).srp,
    previousTokenReuse: mean((layer) => layer.previousTokenReuse),
    sch: cacheSizes.map((slabs, i) => ({ slabs, hitRatio: mean(({ sch }) => sch[i]?.hitRatio ?? 0) })),
    layers,
    missCurve: curve,
    advice: {
      slabBudgetBytes,
      readBytesPerS: options.storageMbS * 1e6,
      ...verdictOf(model, slabBudgetBytes, forecast),
    },
  };
  process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : textOf(result));
}

/** Misses by how many slabs are in memory, simulated with the engine's own eviction over the traced tokens. */
function curveOf(
  { model }: TraceHeader,
  documents: readonly TraceDocument[],
  slabBudgetBytes: number,
): readonly MissPoint[] {
  const tokens = documents.flatMap(({ slabs }) => slabs).slice(0, MOST_SIMULATED);
  const trace = tokens.map((token) => token.map((chosen) => Int32Array.from(chosen)));
  const slabBytes = model.layers.map(() => model.slabBytes);
  const share = Math.min(1, slabBudgetBytes / model.slabsBytes);
  const shares = [...new Set([...CURVE_SHARES, share])].toSorted((a, b) => a - b);
  return missCurve(trace, { slabsPerLayer: model.slabsPerLayer, slabBytes }, shares);
}

/** What a forecast means to whoever waits for the answer. */
function verdictOf(
  model: TraceHeader['model'],
  slabBudgetBytes: number,
  forecast: OffloadForecast | undefined,
): OffloadAdvice {
  if (slabBudgetBytes >= model.slabsBytes) {
    return { verdict: 'all in memory', reason: 'the budget holds all slabs: nothing is offloaded' };
  }
  const least = model.slabsPerToken * model.slabBytes * model.layers.length;
  if (forecast === undefined || slabBudgetBytes < least) {
    const reason = `a token uses ${(least / 1e6).toFixed(2)} MB of slabs: with less every token reads them anew`;
    return { verdict: 'too small', reason, ...forecast };
  }
  const { tokensPerSecond } = forecast;
  const speed = Number.isFinite(tokensPerSecond)
    ? `${tokensPerSecond.toFixed(1)} tokens/s at most`
    : 'storage is no limit';
  return tokensPerSecond >= READING_TOKENS_PER_S
    ? { verdict: 'worth it', reason: speed, ...forecast }
    : {
        verdict: 'slow',
        reason: `${speed}: prune, quantise, use fewer slabs a token, or give it more memory`,
        ...forecast,
      };
}

function textOf(result: {
  readonly segment: number;
  readonly tokens: number;
  readonly srp: number;
  readonly previousTokenReuse: number;
  readonly sch: readonly { readonly slabs: number; readonly hitRatio: number }[];
  readonly layers: readonly LayerConsistency[];
  readonly advice: OffloadAdvice & { readonly slabBudgetBytes: number; readonly readBytesPerS: number };
}): string {
  const { segment, tokens, srp, previousTokenReuse: reuse, sch, layers, advice } = result;
  const rows = layers.map(
    ({ layer, srp: one, groupSize, previousTokenReuse: same, sch: hits }) =>
      `  ${String(layer).padStart(5)}  ${one.toFixed(3)}  ${groupSize.toFixed(1).padStart(5)}  ${same.toFixed(3)}  ` +
      hits.map(({ hitRatio }) => hitRatio.toFixed(3)).join('  '),
  );
  return (
    `${tokens} tokens, segments of ${segment}: SRP ${srp.toFixed(3)}, reuse of the token before ${reuse.toFixed(3)}, ` +
    `SCH ${sch.map(({ slabs, hitRatio }) => `${hitRatio.toFixed(3)} at ${slabs} slabs`).join(', ')}\n` +
    `  layer    SRP  group  reuse  ${sch.map(({ slabs }) => `SCH ${slabs}`.padEnd(5)).join('  ')}\n${rows.join('\n')}\n` +
    `with ${(advice.slabBudgetBytes / 1e6).toFixed(1)} MB for slabs and storage of ${(advice.readBytesPerS / 1e6).toFixed(0)} MB/s: ` +
    `${advice.verdict} (${advice.reason})` +
    (advice.hitRate === undefined || advice.bytesPerToken === undefined
      ? '\n'
      : `; ${(100 * advice.hitRate).toFixed(0)} % of slabs in memory when they are needed, ${(advice.bytesPerToken / 1e6).toFixed(2)} MB read a token\n`)
  );
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('expected a number above 0');
  return value;
}
