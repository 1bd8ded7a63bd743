/**
 * What experts are worth on a class of prompts that no outcomes are of: what the gate predicts of its prompts. Pure.
 *
 * The error bar does not fall with their number. A gate that was never shown prompts of a kind is wrong about all of them
 * in the same way, by as much as an expert's quality differs from one class to another: that is in doubt until there is
 * evidence.
 */
import type { ClassId, ExpertId } from '@fleetgate/shared/ids';

import type { ExpertScore, Gate } from './gate.js';

/** Expert by expert: quality, error bar without doubt, tokens of the answer. */
export type Predicted = Float64Array;
export const FIGURES = 3;
/** One prompt counts for at least one in so many. */
const SLOWEST = 200;
/** As in doubt as an expert whose card alone is known (`unknown-expert.ts`). */
const UNTOLD = 0.25;

export interface FoundQuality {
  readonly mean: Predicted;
  readonly prompts: number;
}

/** What the trained gate said of a prompt, without what was learned from use; not known of an expert: NaN. */
export function predictedOf(scores: ReadonlyMap<ExpertId, ExpertScore>, experts: readonly ExpertId[]): Predicted {
  const into = new Float64Array(FIGURES * experts.length).fill(NaN);
  experts.forEach((expert, at) => {
    const score = scores.get(expert);
    if (score !== undefined) {
      const { quality, sd, doubt = 0 } = score.unlearned ?? score;
      // What is in doubt of the class has been added to the scores of its prompts, and is added anew.
      const spread = Math.sqrt(Math.max(0, sd ** 2 - doubt ** 2));
      into.set([quality, spread, score.outputTokens], FIGURES * at);
    }
  });
  return into;
}

export function withPrompt(before: FoundQuality | undefined, predicted: Predicted): FoundQuality {
  const prompts = Math.min(SLOWEST, (before?.prompts ?? 0) + 1);
  const mean = predicted.map((value, at) => {
    const old = before?.mean[at] ?? NaN;
    if (!Number.isFinite(value)) return old;
    return Number.isFinite(old) ? old + (value - old) / prompts : value;
  });
  return { mean, prompts };
}

/** Undefined for an expert that nothing was predicted of. `doubt`: `betweenClasses` of the gate. */
export function scoreOfFound({ mean }: FoundQuality, expert: number, doubt: number): ExpertScore | undefined {
  const [quality, sd, outputTokens] = mean.subarray(FIGURES * expert, FIGURES * (expert + 1));
  if (quality === undefined || sd === undefined || outputTokens === undefined) return undefined;
  if (!Number.isFinite(quality + sd + outputTokens)) return undefined;
  return doubted({ quality: Math.min(1, Math.max(0, quality)), sd, outputTokens: Math.max(1, outputTokens) }, doubt);
}

/** A score with its expert's mean in doubt by that much (sd) more. */
export function doubted(score: ExpertScore, doubt: number): ExpertScore {
  return { ...score, sd: Math.hypot(score.sd, doubt), doubt: Math.hypot(score.doubt ?? 0, doubt) };
}

/** Standard deviation of an expert's quality between classes, over all experts; of one class nothing can be told. */
export function betweenClasses(gate: Pick<Gate, 'experts' | 'classQuality'>, classes: readonly ClassId[]): number {
  if (classes.length < 2) return UNTOLD;
  const variances = gate.experts.map((expert) => {
    const values = classes.map((classId) => gate.classQuality(classId, expert)?.quality ?? 0);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  });
  return Math.sqrt(variances.reduce((sum, value) => sum + value, 0) / Math.max(1, variances.length));
}
