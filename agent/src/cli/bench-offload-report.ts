import type { BenchAnswer } from './bench-offload-child.js';
import { type ContestResult, type Floors, type Pair, speedName } from './bench-offload-run.js';
import { figure, medianOf, table } from './bench-tables.js';

/** One comparison with stock llama.cpp under the same cap, from the same run. */
export interface OffloadFigure {
  readonly what: 'decode' | 'prefill' | 'load';
  readonly cap: string;
  readonly storage: string;
  readonly unit: 'ms/token' | 'ms';
  readonly ours: number;
  readonly stock: number;
  /** stock / ours: how many times quicker we are. For decoding the median of the turns' ratios. */
  readonly ratio: number;
  /** Ratio of the sums, and the lowest and highest turn. */
  readonly spread: readonly [overall: number, lowest: number, highest: number];
  readonly oursMbPerToken: number;
  readonly stockMbPerToken: number;
  readonly oursCpuMs: number;
  readonly stockCpuMs: number;
  readonly hitRate?: number;
  readonly waitMs?: number;
  /** Slabs per token read before a router had chosen. */
  readonly readAhead?: number;
  /** Time that storage needs at least for what we read; unknown where it is not throttled. */
  readonly floorMs?: number;
  /** What the issue of this work asks for; undefined where it asks for nothing. */
  readonly wanted?: number;
}

export interface OffloadReport {
  readonly figures: readonly OffloadFigure[];
  /** Bytes per token over all decoded tokens of a cap. */
  readonly bytes: readonly {
    readonly cap: string;
    readonly oursMb: number;
    readonly ownFloorMb: number;
    readonly beladyMb: number;
    readonly stockMb: number;
  }[];
  /** All logits of all turns were equal, to the bit. */
  readonly isLossless: boolean;
  readonly notes: readonly string[];
}

/** Bars by cap: unthrottled or fast storage, 90 MB/s. */
const WANTED: Readonly<Record<string, readonly [fast: number, slow: number]>> = {
  '35 %': [4, 1.8],
  '50 %': [3, 1.5],
  fits: [0.97, 0.97],
};
const WANTED_PREFILL = 1.5;
/** What counts as fast storage, bytes per second. */
const FAST = 400e6;

/** The comparisons of one cap. */
export function figuresOf(
  cap: string,
  speeds: readonly (number | undefined)[],
  result: ContestResult,
): OffloadFigure[] {
  const decode = speeds.map((speed, i) => {
    const turns = result.decode[i] ?? [];
    const wanted = WANTED[cap]?.[speed === undefined || speed >= FAST ? 0 : 1];
    return figureOf({ what: 'decode', cap, speed, pairs: turns, wanted });
  });
  const prefill = result.prefill.map((pair, i) =>
    figureOf({ what: 'prefill', cap, speed: speeds[i], pairs: [pair], wanted: cap === 'fits' ? 0.97 : WANTED_PREFILL }),
  );
  return [
    ...decode,
    ...prefill,
    figureOf({ what: 'load', cap, speed: undefined, pairs: [result.load], wanted: undefined }),
  ];
}

interface Compared {
  readonly what: OffloadFigure['what'];
  readonly cap: string;
  readonly speed: number | undefined;
  readonly pairs: readonly Pair[];
  readonly wanted: number | undefined;
}

function figureOf({ what, cap, speed, pairs, wanted }: Compared): OffloadFigure {
  const sum = (of: (pair: Pair) => number): number => pairs.reduce((all, pair) => all + of(pair), 0);
  // A prompt counts as one, since batches of other sizes do not compare token by token.
  const tokens =
    what === 'decode'
      ? Math.max(
          1,
          sum(({ ours }) => ours.tokenMs.length),
        )
      : 1;
  const [ours, stock] = [sum((pair) => pair.ours.ms) / tokens, sum((pair) => pair.stock.ms) / tokens];
  const ratios = pairs.map((pair) => pair.stock.ms / pair.ours.ms).toSorted((a, b) => a - b);
  const mb = (of: (pair: Pair) => BenchAnswer): number => sum((pair) => of(pair).readBytes) / tokens / 1e6;
  const routed = sum((pair) => pair.ours.figures?.routed ?? 0);
  const oursMb = mb((pair) => pair.ours);
  return {
    what,
    cap,
    storage: speedName(speed),
    unit: what === 'decode' ? 'ms/token' : 'ms',
    ours,
    stock,
    ratio: medianOf(ratios),
    spread: [stock / ours, ratios[0] ?? NaN, ratios.at(-1) ?? NaN],
    oursMbPerToken: oursMb,
    stockMbPerToken: mb((pair) => pair.stock),
    oursCpuMs: sum((pair) => pair.ours.cpuMs) / tokens,
    stockCpuMs: sum((pair) => pair.stock.cpuMs) / tokens,
    ...(routed === 0 ? {} : { hitRate: sum((pair) => pair.ours.figures?.hits ?? 0) / routed }),
    ...(routed === 0 ? {} : { waitMs: sum((pair) => pair.ours.figures?.waitMs ?? 0) / tokens }),
    ...(routed === 0 ? {} : { readAhead: sum((pair) => pair.ours.figures?.readAhead ?? 0) / tokens }),
    ...(speed === undefined ? {} : { floorMs: (1e9 * oursMb) / speed }),
    ...(wanted === undefined ? {} : { wanted }),
  };
}

export function bytesOf(cap: string, result: ContestResult, floors: Floors): OffloadReport['bytes'][number] {
  const pairs = result.decode.flat();
  const tokens = pairs.reduce((sum, { ours }) => sum + ours.tokenMs.length, 0);
  const perToken = (of: (pair: Pair) => BenchAnswer): number =>
    pairs.reduce((sum, pair) => sum + of(pair).readBytes, 0) / tokens / 1e6;
  return {
    cap,
    oursMb: perToken((pair) => pair.ours),
    ownFloorMb: floors.own.bytesPerToken / 1e6,
    beladyMb: floors.belady.bytesPerToken / 1e6,
    stockMb: perToken((pair) => pair.stock),
  };
}

/** Whether both variants computed the same, to the last bit of the last logits of every turn and prompt. */
export function isLossless({ decode, prefill }: ContestResult): boolean {
  return [...decode.flat(), ...prefill].every(({ stock, ours }) => stock.hash === ours.hash);
}

/** For people. */
export function reportText({ figures, bytes, isLossless: lossless, notes }: OffloadReport): string {
  const rows = figures.map((one) => [
    one.what,
    one.cap,
    one.storage,
    `${figure(one.ours)} ${one.unit}`,
    figure(one.stock),
    `${one.ratio.toFixed(2)}x`,
    one.what === 'decode'
      ? `${one.spread[0].toFixed(2)} (${one.spread[1].toFixed(2)}-${one.spread[2].toFixed(2)})`
      : '',
    one.wanted === undefined ? '' : `${one.ratio >= one.wanted ? 'met' : 'missed'} ${one.wanted}x`,
    `${figure(one.oursMbPerToken)} / ${figure(one.stockMbPerToken)}`,
    one.hitRate === undefined ? '' : one.hitRate.toFixed(3),
    one.waitMs === undefined ? '' : figure(one.waitMs),
    one.floorMs === undefined ? '' : figure(one.floorMs),
  ]);
  const head = [
    '',
    'cap',
    'storage',
    'ours',
    'stock',
    'ratio',
    'overall (turns)',
    'bar',
    'MB ours/stock',
    'hits',
    'wait',
    'floor',
  ];
  const byteRows = bytes.map(({ cap, oursMb, ownFloorMb, beladyMb, stockMb }) => {
    const over = (100 * (oursMb / ownFloorMb - 1)).toFixed(1);
    return (
      `${cap}: ${oursMb.toFixed(2)} MB a token; the policy’s own floor ${ownFloorMb.toFixed(2)} (${over} % over), ` +
      `Belady ${beladyMb.toFixed(2)}, stock ${stockMb.toFixed(2)}`
    );
  });
  const same = lossless ? 'all logits equal to stock llama.cpp’s, to the bit' : 'LOGITS DIFFER FROM STOCK LLAMA.CPP’S';
  return [...table([head, ...rows]), '', ...byteRows, same, ...notes.map((note) => `note: ${note}`), ''].join('\n');
}
