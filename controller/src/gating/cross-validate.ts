import type { Prediction } from './evaluate-gate.js';
import type { GateModel } from './gate-model.js';
import { LinearScorer } from './linear-scorer.js';
import type { Outcome } from './outcomes.js';
import { GateTrainer } from './train-gate.js';
import { foldOfPrompt } from './training-set.js';

/** What a scorer says of one prompt, by model name. */
export function predictionOf(model: GateModel, scorer: LinearScorer, prompt: string): Prediction & OutputTokens {
  const score = scorer.score(prompt);
  const byName = (values: Float64Array) =>
    Object.fromEntries(model.experts.map((expert, at) => [expert.name, values[at] ?? 0]));
  return { quality: byName(score.quality), sd: byName(score.sd), outputTokens: byName(score.outputTokens) };
}
export interface OutputTokens {
  readonly outputTokens: Readonly<Record<string, number>>;
}

/** A prediction by a gate that was trained without the prompt's fold. */
export interface HeldOut extends Prediction, OutputTokens {
  readonly fold: number;
}

/**
 * Predictions for every outcome by a gate that was trained without its fold. Folds go by prompt text, so the same prompt
 * is never on both sides. Trains `folds` gates: seconds each.
 */
export function crossValidate(
  outcomes: readonly Outcome[],
  folds: number,
  seed: number,
  onFold: (fold: number) => void = () => {},
): readonly HeldOut[] {
  // A seed of its own, so that these folds are not the ones training itself uses.
  const foldOf = outcomes.map((outcome) => foldOfPrompt(outcome.prompt, seed + 7919, folds));
  const predictions: HeldOut[] = [];
  for (let fold = 0; fold < folds; fold++) {
    onFold(fold);
    const trainer = new GateTrainer({ seed });
    outcomes.forEach((outcome, at) => {
      if (foldOf[at] !== fold) trainer.add(outcome);
    });
    const model = trainer.train();
    const scorer = new LinearScorer(model);
    outcomes.forEach((outcome, at) => {
      if (foldOf[at] === fold) predictions[at] = { ...predictionOf(model, scorer, outcome.prompt), fold };
    });
  }
  return predictions;
}
