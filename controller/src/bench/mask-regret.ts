/** What masking a gate to a selection costs against training it on that selection, and how often one more expert hurts. */
import type { Random } from '@fleetgate/shared/random';

import { type Matrix, rowOf } from '../gating/linear-algebra.js';

import { meanOf } from './distribution.js';
import {
  columnsOf,
  logitsOf,
  maskSoftmax,
  type SoftmaxGate,
  type SoftmaxLoss,
  softmaxLoss,
  type SoftmaxTask,
  trainSoftmax,
} from './softmax-gate.js';

/** Prompts with their features and every expert's quality. */
export interface Prompts {
  readonly features: Matrix;
  readonly quality: Matrix;
}

/** How a prompt is answered: by the experts of a selection in the gate's shares, or by the one of the largest share. */
export type Use = 'mixed' | 'chosen';

export interface RegretFigure {
  /** Quality on held-out prompts, 0..1, mean over selections. */
  readonly masked: number;
  readonly retrained: number;
  /** Retrained less masked: mean and largest over selections. */
  readonly regret: number;
  readonly worst: number;
}

export interface MaskRegret {
  readonly loss: SoftmaxLoss;
  readonly selections: number;
  /** Training loss of the masked gate above the one trained on the selection, nats per prompt; 0 if masking lost nothing. */
  readonly trainingGap: { readonly mean: number; readonly worst: number };
  readonly mixed: RegretFigure;
  readonly chosen: RegretFigure;
  /** Share of held-out prompts that the two give to different experts. */
  readonly moved: number;
}

/** Compares `full`, trained on all experts, with a gate trained on each selection: from the masked one's weights and anew, the better. */
export function maskRegret(
  trained: Prompts,
  heldOut: Prompts,
  loss: SoftmaxLoss,
  full: SoftmaxGate,
  selections: readonly (readonly number[])[],
): MaskRegret {
  const measured = selections.map((selection) => {
    const task = { features: trained.features, quality: columnsOf(trained.quality, selection), loss };
    const masked = maskSoftmax(full, selection);
    const own = betterOf(task, trainSoftmax(task, masked), trainSoftmax(task));
    const quality = columnsOf(heldOut.quality, selection);
    const all = selection.map((_, at) => at);
    const [maskedLogits, ownLogits] = [masked, own].map((gate) => logitsOf(gate, heldOut.features));
    const value = (logits: Matrix | undefined, use: Use) =>
      logits === undefined ? NaN : valueOf(logits, quality, all, use);
    return {
      gap: softmaxLoss(task, masked) - softmaxLoss(task, own),
      mixed: [value(maskedLogits, 'mixed'), value(ownLogits, 'mixed')] as const,
      chosen: [value(maskedLogits, 'chosen'), value(ownLogits, 'chosen')] as const,
      moved: maskedLogits === undefined || ownLogits === undefined ? NaN : movedShare(maskedLogits, ownLogits),
    };
  });
  const gaps = measured.map(({ gap }) => gap);
  return {
    loss,
    selections: selections.length,
    trainingGap: { mean: meanOf(gaps), worst: Math.max(...gaps) },
    mixed: regretFigure(measured.map(({ mixed }) => mixed)),
    chosen: regretFigure(measured.map(({ chosen }) => chosen)),
    moved: meanOf(measured.map(({ moved }) => moved)),
  };
}

function betterOf(task: SoftmaxTask, a: SoftmaxGate, b: SoftmaxGate): SoftmaxGate {
  return softmaxLoss(task, a) <= softmaxLoss(task, b) ? a : b;
}

function regretFigure(pairs: readonly (readonly [number, number])[]): RegretFigure {
  const regrets = pairs.map(([masked, retrained]) => retrained - masked);
  return {
    masked: meanOf(pairs.map(([masked]) => masked)),
    retrained: meanOf(pairs.map(([, retrained]) => retrained)),
    regret: meanOf(regrets),
    worst: Math.max(...regrets),
  };
}

function movedShare(a: Matrix, b: Matrix): number {
  const all = Array.from({ length: a.columns }, (_, at) => at);
  let moved = 0;
  for (let row = 0; row < a.rows; row++) if (topOf(rowOf(a, row), all) !== topOf(rowOf(b, row), all)) moved++;
  return moved / a.rows;
}

/**
 * Mean quality of the answers when the gate, whose logits (or predictions, for `chosen`) are given, is masked to
 * `selection`.
 */
export function valueOf(logits: Matrix, quality: Matrix, selection: readonly number[], use: Use): number {
  let total = 0;
  for (let row = 0; row < logits.rows; row++) {
    const [own, actual] = [rowOf(logits, row), rowOf(quality, row)];
    const top = topOf(own, selection);
    if (use === 'chosen') {
      total += actual[top] ?? 0;
      continue;
    }
    let [mass, value] = [0, 0];
    for (const expert of selection) {
      const share = Math.exp((own[expert] ?? 0) - (own[top] ?? 0));
      mass += share;
      value += share * (actual[expert] ?? 0);
    }
    total += value / mass;
  }
  return total / logits.rows;
}

function topOf(values: Float64Array, selection: readonly number[]): number {
  return selection.reduce(
    (best, expert) => ((values[expert] ?? 0) > (values[best] ?? 0) ? expert : best),
    selection[0] ?? 0,
  );
}

/** Random selections of 2 to n - 1 of n experts, every size as likely; each rising. */
export function randomSelections(experts: number, count: number, random: Random): readonly (readonly number[])[] {
  return Array.from({ length: count }, () => {
    const size = 2 + Math.floor(random.uniform() * Math.max(1, experts - 2));
    const order = Array.from({ length: experts }, (_, expert) => ({ expert, at: random.uniform() }));
    return order
      .sort((a, b) => a.at - b.at)
      .slice(0, size)
      .map(({ expert }) => expert)
      .sort((a, b) => a - b);
  });
}

export interface Falls {
  readonly pairs: number;
  /** Share of them in which the expert that was added made the value smaller. */
  readonly share: number;
  /** Loss of value in those pairs, mean and largest; 0 for none. */
  readonly mean: number;
  readonly worst: number;
}

/** How often `value` falls when a random expert is added to each of `selections` (all of them but the full one). */
export function fallsOf(
  value: (selection: readonly number[]) => number,
  selections: readonly (readonly number[])[],
  experts: number,
  random: Random,
): Falls {
  const losses = selections.map((selection) => {
    const others = Array.from({ length: experts }, (_, expert) => expert).filter((each) => !selection.includes(each));
    const added = others[Math.floor(random.uniform() * others.length)];
    return added === undefined ? 0 : value(selection) - value([...selection, added]);
  });
  const falls = losses.filter((loss) => loss > 1e-12);
  return {
    pairs: losses.length,
    share: falls.length / Math.max(1, losses.length),
    mean: falls.length === 0 ? 0 : meanOf(falls),
    worst: Math.max(0, ...falls),
  };
}
