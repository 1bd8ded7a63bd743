import { type BenchFigure, type BenchTable, figure } from '../bench-report.js';
import { type Distribution, quantile } from '../distribution.js';
import type { LoadResult } from './http-load.js';

/** `json`: a whole answer; `stream`: all frames at once; `paced`: a frame every millisecond. */
export const KINDS = ['json', 'stream', 'paced'] as const;
export type Kind = (typeof KINDS)[number];

export const DIRECT = 'direct';
export const RAW = 'bare Node proxy';
export const PORTKEY = 'Portkey';
/** Ours without what it decides and keeps. */
export const BARE = 'bare controller';
export const OURS = 'fleetgate';

/** One target under one load in one round. */
export interface Cell {
  readonly target: string;
  readonly kind: Kind;
  readonly connections: number;
  readonly round: number;
  readonly load: LoadResult;
  /** Of the target's own process, an answered request. */
  readonly cpuMs: number;
  /** Of the processes that work for it. */
  readonly othersCpuMs: Readonly<Record<string, number>>;
}

/** Limits that the dispatcher is held to; gate decision and ledger write included. */
export const BARS = {
  cpuMs: { json: 0.4, stream: 0.6, paced: 0.6 },
  addedMs: { 1: 1, 10: 4 },
  requestsOverPortkey: 5,
  residentMb: 200,
  decisionUs: 100,
} as const;

/** Medians of the rounds of one target under one load; figures against others are medians of the rounds' own ratios. */
export interface Medians {
  readonly target: string;
  readonly connections: number;
  readonly perS: number;
  readonly ofDirect: number;
  readonly meanMs: number;
  readonly addedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMs: number;
  readonly frames: number;
  readonly failed: number;
}

export function mediansOf(cells: readonly Cell[], kind: Kind): readonly Medians[] {
  const ofKind = cells.filter((cell) => cell.kind === kind);
  const keys = new Map(ofKind.map((cell) => [`${cell.connections} ${cell.target}`, cell]));
  return [...keys.values()].map(({ target, connections }) => {
    const rounds = ofKind.filter((cell) => cell.target === target && cell.connections === connections);
    const median = (of: (cell: Cell) => number): number => medianOf(rounds.map(of));
    const direct = (cell: Cell): LoadResult | undefined =>
      ofKind.find((one) => one.target === DIRECT && one.connections === connections && one.round === cell.round)?.load;
    return {
      target,
      connections,
      perS: median(({ load }) => load.answered / load.seconds),
      ofDirect: median((cell) => perS(cell.load) / perS(direct(cell))),
      meanMs: median(({ load }) => load.meanMs),
      addedMs: median((cell) => cell.load.meanMs - (direct(cell)?.meanMs ?? NaN)),
      p50Ms: median(({ load }) => load.p50Ms),
      p99Ms: median(({ load }) => load.p99Ms),
      cpuMs: median((cell) => cell.cpuMs),
      frames: median(({ load }) => load.frames),
      failed: rounds.reduce((sum, { load }) => sum + load.failed, 0),
    };
  });
}

const TITLES: Readonly<Record<Kind, string>> = {
  json: 'JSON answers',
  stream: 'streamed answers, all frames at once',
  paced: 'streamed answers, a frame every millisecond',
};

export function loadTable(cells: readonly Cell[], kind: Kind): BenchTable {
  return {
    title: TITLES[kind],
    columns: [
      'at once',
      '',
      'requests/s',
      'of direct',
      'mean ms',
      'p50',
      'p99',
      'added ms',
      'CPU ms',
      'frames',
      'failed',
    ],
    rows: mediansOf(cells, kind).map((row) => [
      row.connections,
      row.target,
      Math.round(row.perS),
      shown(row.ofDirect, 3),
      shown(row.meanMs, 2),
      shown(row.p50Ms, 2),
      shown(row.p99Ms, 2),
      row.target === DIRECT ? '-' : shown(row.addedMs, 2),
      shown(row.cpuMs, 3),
      kind === 'json' ? '-' : shown(row.frames, 1),
      row.failed,
    ]),
  };
}

/** CPU of the processes that ours works with, ms an answered request. */
export function othersTable(cells: readonly Cell[]): BenchTable {
  const ours = cells.filter(({ target }) => target === OURS);
  const names = [...new Set(ours.flatMap(({ othersCpuMs }) => Object.keys(othersCpuMs)))];
  return {
    title: 'CPU of what serves ours beside it, ms a request',
    columns: ['', ...names],
    rows: KINDS.filter((kind) => ours.some((cell) => cell.kind === kind)).map((kind) => [
      kind,
      ...names.map((name) => {
        const values = ours.filter((cell) => cell.kind === kind).map(({ othersCpuMs }) => othersCpuMs[name] ?? NaN);
        return shown(medianOf(values), 3);
      }),
    ]),
  };
}

export function gatewayFigures(cells: readonly Cell[]): readonly BenchFigure[] {
  const rows = (kind: Kind): readonly Medians[] => mediansOf(cells, kind);
  const at = (kind: Kind, target: string, connections: number): Medians | undefined =>
    rows(kind).find((row) => row.target === target && row.connections === connections);
  const figures: BenchFigure[] = [];
  for (const kind of KINDS) {
    const ours = at(kind, OURS, 10);
    if (ours === undefined) continue;
    const what = `CPU a ${kind === 'json' ? 'JSON request' : kind === 'stream' ? 'stream' : 'paced stream'}, 10 at once`;
    figures.push(figure(what, 'ms', ours.cpuMs, { name: 'bar', value: BARS.cpuMs[kind] }));
    for (const peer of [RAW, BARE, PORTKEY]) {
      const other = at(kind, peer, 10);
      if (other !== undefined) figures.push(figure(what, 'ms', ours.cpuMs, { name: peer, value: other.cpuMs }));
    }
  }
  for (const connections of [1, 10] as const) {
    const ours = at('json', OURS, connections);
    if (ours === undefined) continue;
    const what = `added to the mean of JSON answers, ${connections} at once`;
    figures.push(figure(what, 'ms', ours.addedMs, { name: 'bar', value: BARS.addedMs[connections] }));
    const portkey = at('json', PORTKEY, connections);
    if (portkey !== undefined)
      figures.push(figure(what, 'ms', ours.addedMs, { name: PORTKEY, value: portkey.addedMs }));
  }
  for (const kind of ['json', 'stream'] as const) {
    const [ours, portkey] = [at(kind, OURS, 10), at(kind, PORTKEY, 10)];
    if (ours === undefined || portkey === undefined) continue;
    const what = `${kind === 'json' ? 'JSON requests' : 'streams'}/s, 10 at once (bar: ratio ${BARS.requestsOverPortkey})`;
    figures.push(figure(what, '1/s', ours.perS, { name: PORTKEY, value: portkey.perS }));
  }
  return figures;
}

/** `decision`: ms of one among 1,000 placed replicas. */
export function decisionFigures({ p50, p99 }: Distribution): readonly BenchFigure[] {
  return [
    figure('decision among 1,000 replicas, median', 'us', 1000 * p50),
    figure('decision among 1,000 replicas, p99', 'us', 1000 * p99, { name: 'bar', value: BARS.decisionUs }),
  ];
}

export const medianOf = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

const perS = (load: LoadResult | undefined): number => (load === undefined ? NaN : load.answered / load.seconds);
const shown = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : '-');
