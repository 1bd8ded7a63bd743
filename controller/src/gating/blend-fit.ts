import { type Matrix, rowOf } from './linear-algebra.js';
import { fitRidge } from './ridge.js';
import { FOLDS } from './training-set.js';

/** What the prompts say, before any outcome is looked at. */
export interface PromptMap {
  /** Prompts x dimensions. */
  readonly scores: Matrix;
  readonly foldOf: Uint8Array;
  readonly classOf: Uint8Array;
  /** Task of each class. */
  readonly taskOfClass: Uint8Array;
  readonly tasks: number;
  /** Prompts x classes: by fits that have not seen the prompt. */
  readonly probabilities: Matrix;
}

export interface BlendOptions {
  /** Outcomes' worth of the wider mean that a narrower one starts from. */
  readonly prior: number;
  /** Ridge strength, for prompts of unit length. */
  readonly strength: number;
}

/** mean + sum over classes of probability * offset + intercept + scores * coefficients. */
export interface BlendFit {
  readonly mean: number;
  readonly offsets: Float64Array;
  readonly intercept: number;
  readonly coefficients: Float64Array;
  /** Prediction of each row by fits that have not seen its fold; NaN where the target is unknown. */
  readonly heldOut: Float64Array;
}

/**
 * Predicts each target (NaN where unknown) from the prompt's classes first, then what those leave over from where the prompt
 * lies: a class's mean is drawn towards its task's, a task's towards the mean of all.
 *
 * A target's fit depends on the prompts and on that target alone: fitted together or alone, it is the same to the last bit.
 * Linear in the target, so that differences between experts are fitted as well.
 */
export function fitBlend(map: PromptMap, targets: readonly Float64Array[], options: BlendOptions): readonly BlendFit[] {
  const means = targets.map((target) => meanOf(knownOf(target)));
  const centred = targets.map((target, at) => target.map((value) => value - (means[at] ?? 0)));
  const byClass = centred.map((target) => heldOutClassPart(map, target, options.prior));
  const rest = centred.map((target, at) => target.map((value, row) => value - (byClass[at]?.[row] ?? 0)));
  const ridge = fitRidge(map.scores, rest, { of: map.foldOf, count: FOLDS }, [options.strength]);
  return targets.map((target, at) => {
    const [mean, fit] = [means[at] ?? 0, ridge[at]];
    return {
      mean,
      offsets: classOffsets(map, centred[at] ?? new Float64Array(), options.prior),
      intercept: fit?.intercept ?? 0,
      coefficients: fit?.coefficients ?? new Float64Array(map.scores.columns),
      heldOut: target.map((_, row) => mean + (byClass[at]?.[row] ?? 0) + (fit?.heldOut[row] ?? NaN)),
    };
  });
}

/** Means of a centred target by class; `without` leaves one fold out. */
function classOffsets(map: PromptMap, target: Float64Array, prior: number, without?: number): Float64Array {
  const rows = [...target.keys()].filter((row) => !Number.isNaN(target[row] ?? NaN) && map.foldOf[row] !== without);
  const taskOf = (row: number) => map.taskOfClass[map.classOf[row] ?? 0] ?? 0;
  const byTask = shrunkMeans(rows, taskOf, (row) => target[row] ?? 0, map.tasks, prior);
  const rest = (row: number) => (target[row] ?? 0) - (byTask[taskOf(row)] ?? 0);
  const byClass = shrunkMeans(rows, (row) => map.classOf[row] ?? 0, rest, map.taskOfClass.length, prior);
  return byClass.map((offset, at) => offset + (byTask[map.taskOfClass[at] ?? 0] ?? 0));
}

function shrunkMeans(
  rows: readonly number[],
  groupOf: (row: number) => number,
  valueOf: (row: number) => number,
  groups: number,
  prior: number,
): Float64Array {
  const sums = new Float64Array(groups);
  const counts = new Float64Array(groups);
  for (const row of rows) {
    const group = groupOf(row);
    sums[group] = (sums[group] ?? 0) + valueOf(row);
    counts[group] = (counts[group] ?? 0) + 1;
  }
  return sums.map((sum, group) => sum / (prior + (counts[group] ?? 0)));
}

/** The part of a centred target that its classes explain, for each row by the folds that have not seen it. */
function heldOutClassPart(map: PromptMap, target: Float64Array, prior: number): Float64Array {
  const offsets = Array.from({ length: FOLDS }, (_, fold) => classOffsets(map, target, prior, fold));
  return target.map((_, row) => {
    const own = offsets[map.foldOf[row] ?? 0];
    return rowOf(map.probabilities, row).reduce((sum, share, index) => sum + share * (own?.[index] ?? 0), 0);
  });
}

export function knownOf(values: Float64Array | undefined): Float64Array {
  return (values ?? new Float64Array()).filter((value) => !Number.isNaN(value));
}

/** 0 for none. */
export function meanOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
