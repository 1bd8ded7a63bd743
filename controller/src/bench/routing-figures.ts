/** What the gate's predictions are worth on measured outcomes, from predictions of prompts that were held out. Pure. */
import type { HeldOut } from '../gating/cross-validate.js';
import { evaluateGate } from '../gating/evaluate-gate.js';
import type { Outcome } from '../gating/outcomes.js';

import { meanOf } from './distribution.js';
import { billionParameters } from './model-sizes.js';
import { pairValue, type RoutedPrompt, routingValue } from './routing-metrics.js';
import { sharedExperts } from './trade-off-figures.js';

/** One question asked of one set of outcomes, answered by the held-out predictions of one seed. */
export interface RoutingFigure {
  /** What was chosen from, or on which task. */
  readonly part: string;
  readonly metric: 'AIQ' | 'APGR';
  /** Over all prompts at once. */
  readonly all: number;
  readonly folds: readonly number[];
  /** Of random mixing (AIQ) or of the prompt's length as the score (APGR); over all prompts, and by fold. */
  readonly baseline: number;
  readonly baselineFolds: readonly number[];
}

export interface RoutingCalibration {
  readonly ece: number;
  /** Share of outcomes within one predicted sd. */
  readonly withinOneSd: number;
  /** Root mean square of error / predicted sd: 1 for honest error bars, also where outcomes are 0 or 1. */
  readonly normalisedError: number;
}

/** Selections that published figures are about; measured where a set has all their models. */
const SELECTIONS: Readonly<Record<string, readonly string[]>> = (() => {
  const small7 = [
    'gemma-2-2b-it',
    'Phi-3.5-mini-instruct',
    'Qwen2-7B-Instruct',
    'Meta-Llama-3-8B-Instruct',
    'Meta-Llama-3.1-8B-Instruct',
    'Yi-1.5-9B-Chat',
    'gemma-2-9b-it',
  ];
  const large4 = ['gemma-2-27b-it', 'Yi-1.5-34B-Chat', 'Qwen2-72B-Instruct', 'Meta-Llama-3.1-70B-Instruct'];
  return { edge11: [...small7, ...large4], small7 };
})();

interface Row {
  readonly outcome: Outcome;
  readonly heldOut: HeldOut;
}

/** Two models: who is asked, the weak or the strong one, task by task. More: quality against cost. */
export function routingFigures(
  outcomes: readonly Outcome[],
  predictions: readonly HeldOut[],
): readonly RoutingFigure[] {
  const rows = outcomes.flatMap((outcome, at): Row[] => {
    const heldOut = predictions[at];
    return heldOut === undefined ? [] : [{ outcome, heldOut }];
  });
  const shared = sharedExperts(outcomes);
  if (shared.length === 2) return pairFigures(rows, shared);
  const named = Object.entries(SELECTIONS).filter(([, models]) => models.every((model) => shared.includes(model)));
  const sized = shared.filter((model) => billionParameters(model) !== undefined);
  const parts = named.length > 0 ? named : [[`${sized.length} models`, sized] as const];
  return parts.filter(([, models]) => models.length >= 2).map(([part, models]) => aiqFigure(part, models, rows));
}

function aiqFigure(part: string, models: readonly string[], rows: readonly Row[]): RoutingFigure {
  const valueOf = (own: readonly Row[]) => routingValue(own.map((row) => routed(models, row)));
  const [all, folds] = [valueOf(rows), byFold(rows).map(valueOf)];
  return {
    part,
    metric: 'AIQ',
    all: all.aiq,
    folds: folds.map(({ aiq }) => aiq),
    baseline: all.zeroAiq,
    baselineFolds: folds.map(({ zeroAiq }) => zeroAiq),
  };
}

/** Cost: billion parameters, times thousand tokens of prompt and answer where answer lengths were measured. */
function routed(models: readonly string[], { outcome, heldOut }: Row): RoutedPrompt {
  const { y, out_tok: lengths, prompt_tok: promptTokens = 0 } = outcome;
  const costOf = (model: string, answer: number | null | undefined) =>
    (billionParameters(model) ?? 0) * (lengths === undefined ? 1 : (promptTokens + (answer ?? 0)) / 1000);
  return {
    quality: models.map((model) => y[model] ?? 0),
    cost: models.map((model) => costOf(model, lengths?.[model])),
    predicted: models.map((model) => heldOut.quality[model] ?? 0),
    expectedCost: models.map((model) => costOf(model, heldOut.outputTokens[model])),
  };
}

function pairFigures(rows: readonly Row[], models: readonly string[]): readonly RoutingFigure[] {
  const mean = (model: string) => meanOf(rows.map(({ outcome }) => outcome.y[model] ?? 0));
  const [weak = '', strong = ''] = [...models].sort((a, b) => mean(a) - mean(b));
  const apgr = (own: readonly Row[], gain: (row: Row) => number) =>
    pairValue(
      own.map((row) => ({ weak: row.outcome.y[weak] ?? 0, strong: row.outcome.y[strong] ?? 0, gain: gain(row) })),
    ).apgr;
  const gate = ({ heldOut }: Row) => (heldOut.quality[strong] ?? 0) - (heldOut.quality[weak] ?? 0);
  const length = ({ outcome }: Row) => outcome.prompt.length;
  const tasks = [...new Set(rows.map(({ outcome }) => outcome.task ?? 'all'))].sort();
  return tasks.map((task): RoutingFigure => {
    const own = rows.filter(({ outcome }) => (outcome.task ?? 'all') === task);
    return {
      part: task,
      metric: 'APGR',
      all: apgr(own, gate),
      folds: byFold(own).map((fold) => apgr(fold, gate)),
      baseline: apgr(own, length),
      baselineFolds: byFold(own).map((fold) => apgr(fold, length)),
    };
  });
}

function byFold(rows: readonly Row[]): readonly (readonly Row[])[] {
  const folds = [...new Set(rows.map(({ heldOut }) => heldOut.fold))].sort((a, b) => a - b);
  return folds.map((fold) => rows.filter(({ heldOut }) => heldOut.fold === fold));
}

export function routingCalibration(outcomes: readonly Outcome[], predictions: readonly HeldOut[]): RoutingCalibration {
  const evaluation = evaluateGate(
    outcomes.flatMap(({ task, y }, at) => {
      const prediction = predictions[at];
      return prediction === undefined ? [] : [{ truth: { task, y }, prediction }];
    }),
  );
  const squares = outcomes.flatMap(({ y }, at) => {
    const heldOut = predictions[at];
    if (heldOut === undefined) return [];
    return Object.entries(y).map(
      ([model, quality]) => ((quality - (heldOut.quality[model] ?? NaN)) / (heldOut.sd[model] ?? NaN)) ** 2,
    );
  });
  return {
    ece: evaluation.ece,
    withinOneSd: meanOf(evaluation.models.map((model) => model.withinOneSd)),
    normalisedError: Math.sqrt(meanOf(squares.filter((square) => Number.isFinite(square)))),
  };
}
