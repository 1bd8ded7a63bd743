import type { Answered } from './bench-engine-process.js';
import type { FirstTokens, Turn } from './bench-engine-run.js';
import type { TogetherFigure } from './bench-engine-together.js';
import { figure, medianOf, table } from './bench-tables.js';

const OURS = ['models', 'slabs'] as const;
export const ENGINE_NAMES = { models: 'ordinary', slabs: 'slab-aware' } as const;
/** What the ordinary engine may lose against the library by itself. */
const WANTED = 0.97;

export interface SpeedFigure {
  readonly model: string;
  readonly engine: string;
  readonly what: 'decode' | 'prefill';
  /** Medians of the turns, tokens a second. */
  readonly ours: number;
  readonly direct: number;
  /** ours / direct, the median of the turns' ratios; and the lowest and highest. */
  readonly ratio: number;
  readonly spread: readonly [lowest: number, highest: number];
  /** CPU time a token over all turns, ms: of the process that computes and of its caller. */
  readonly oursCpuMs: number;
  readonly directCpuMs: number;
  /** The library's CPU time a token over ours, the median of the turns': what other processes disturb less. */
  readonly cpuRatio: number;
  /** Of the turns, how many had the library's own text, to the letter. */
  readonly sameTexts: number;
  readonly turns: number;
  readonly wanted?: number;
}

export interface FirstTokenFigure {
  readonly model: string;
  readonly engine: string;
  readonly promptTokens: number;
  readonly coldMs: number;
  readonly coldParts: { readonly startMs: number; readonly loadMs: number; readonly firstMs: number };
  readonly warmMs: number;
  readonly prefixMs: number;
  readonly reusedTokens: number;
}

export interface EngineReport {
  readonly speeds: readonly SpeedFigure[];
  readonly firstTokens: readonly FirstTokenFigure[];
  readonly together: readonly TogetherFigure[];
  readonly emptyChildBytes: { readonly ordinary: number | null; readonly slabAware: number | null };
  readonly notes: readonly string[];
}

/** Each engine against the library, in decoding and in reading prompts. Pure. */
export function speedFigures(model: string, turns: readonly Turn[]): readonly SpeedFigure[] {
  return OURS.flatMap((engine) =>
    (['decode', 'prefill'] as const).map((what): SpeedFigure => {
      const ratios = turns.map((turn) => rate(turn[engine], what) / rate(turn.direct, what)).toSorted((a, b) => a - b);
      const { name, wanted } = { name: ENGINE_NAMES[engine], wanted: engine === 'models' ? WANTED : undefined };
      return {
        model,
        engine: name,
        what,
        ours: medianOf(turns.map((turn) => rate(turn[engine], what))),
        direct: medianOf(turns.map((turn) => rate(turn.direct, what))),
        ratio: medianOf(ratios),
        spread: [ratios[0] ?? NaN, ratios.at(-1) ?? NaN],
        oursCpuMs: cpu(
          turns.map((turn) => turn[engine]),
          what,
        ),
        cpuRatio: medianOf(turns.map((turn) => cpu([turn.direct], what) / cpu([turn[engine]], what))),
        directCpuMs: cpu(
          turns.map(({ direct }) => direct),
          what,
        ),
        sameTexts: turns.filter((turn) => turn[engine].text === turn.direct.text).length,
        turns: turns.length,
        ...(wanted === undefined ? {} : { wanted }),
      };
    }),
  );
}

/** Medians of how soon a text begins. Pure. */
export function firstTokenFigure(
  model: string,
  engine: keyof typeof ENGINE_NAMES,
  { cold, warm, prefix }: FirstTokens,
): FirstTokenFigure {
  return {
    model,
    engine: ENGINE_NAMES[engine],
    promptTokens: medianOf(warm.map(({ promptTokens }) => promptTokens)),
    coldMs: medianOf(cold.map(({ startMs, loadMs, firstMs }) => startMs + loadMs + firstMs)),
    coldParts: {
      startMs: medianOf(cold.map(({ startMs }) => startMs)),
      loadMs: medianOf(cold.map(({ loadMs }) => loadMs)),
      firstMs: medianOf(cold.map(({ firstMs }) => firstMs)),
    },
    warmMs: medianOf(warm.map(({ firstMs }) => firstMs)),
    prefixMs: medianOf(prefix.map(({ firstMs }) => firstMs)),
    reusedTokens: medianOf(prefix.map(({ reusedTokens }) => reusedTokens)),
  };
}

/** For people. */
export function reportText({ speeds, firstTokens, together, emptyChildBytes, notes }: EngineReport): string {
  const speedRows = speeds.map((one) => [
    one.model,
    one.engine,
    one.what,
    figure(one.ours),
    figure(one.direct),
    one.ratio.toFixed(3),
    `${one.spread[0].toFixed(2)}-${one.spread[1].toFixed(2)}`,
    one.wanted === undefined ? '' : `${one.ratio >= one.wanted ? 'met' : 'missed'} ${one.wanted}`,
    `${one.oursCpuMs.toFixed(3)} / ${one.directCpuMs.toFixed(3)}`,
    one.cpuRatio.toFixed(3),
    `${one.sameTexts}/${one.turns}`,
  ]);
  const firstRows = firstTokens.map((one) => [
    one.model,
    one.engine,
    String(one.promptTokens),
    figure(one.coldMs),
    `${figure(one.coldParts.startMs)} + ${figure(one.coldParts.loadMs)} + ${figure(one.coldParts.firstMs)}`,
    figure(one.warmMs),
    `${(one.coldMs / one.warmMs).toFixed(1)}x`,
    figure(one.prefixMs),
    `${(one.warmMs / one.prefixMs).toFixed(1)}x`,
    String(one.reusedTokens),
  ]);
  const togetherRows = together.map((one) => [
    one.model,
    one.engine,
    String(one.atOnce),
    figure(one.tokensPerS),
    one.cpuMs.toFixed(3),
    `${one.sameTexts}/${one.answers}`,
  ]);
  const empty = Object.entries(emptyChildBytes).map(
    ([engine, bytes]) => `${engine} ${bytes === null ? '?' : (bytes / 1e6).toFixed(1)} MB`,
  );
  return [
    'tokens a second through the Engine port (child process, text to the caller), and of llama.cpp’s library by itself',
    ...table([
      ['model', 'engine', '', 'ours', 'library', 'ratio', 'turns', 'bar', 'CPU ms/token', 'ratio', 'same text'],
      ...speedRows,
    ]),
    '',
    'ms from the call to the first text, medians; cold: process not started, file not in memory',
    ...table([
      [
        'model',
        'engine',
        'prompt',
        'cold',
        'start + load + prompt',
        'warm',
        'cold/warm',
        'prefix',
        'warm/prefix',
        'reused',
      ],
      ...firstRows,
    ]),
    '',
    'several answers of one model at once, as one batch: tokens of all of them a second',
    ...table([['model', 'engine', 'at once', 'tokens/s', 'CPU ms/token', 'same text'], ...togetherRows]),
    '',
    `an engine’s process without a model, resident: ${empty.join(', ')}`,
    ...notes.map((note) => `note: ${note}`),
    '',
  ].join('\n');
}

/** Tokens a second. */
function rate({ promptTokens, decoded, firstMs, totalMs }: Answered, what: SpeedFigure['what']): number {
  return what === 'prefill' ? (1000 * promptTokens) / firstMs : (1000 * decoded) / (totalMs - firstMs);
}

/** CPU time a token, ms, over all of them. */
function cpu(answers: readonly Answered[], what: SpeedFigure['what']): number {
  const sum = (of: (answer: Answered) => number): number => answers.reduce((all, answer) => all + of(answer), 0);
  return what === 'prefill'
    ? sum(({ firstCpuMs }) => firstCpuMs) / sum(({ promptTokens }) => promptTokens)
    : sum(({ totalCpuMs, firstCpuMs }) => totalCpuMs - firstCpuMs) / sum(({ decoded }) => decoded);
}
