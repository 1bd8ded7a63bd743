/** Prompts with what experts answered, and what a gate that has not seen them predicts of them. */
import { LinearScorer } from '../gating/linear-scorer.js';
import { canonicalAnswer } from '../gating/final-answer.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGate } from '../gating/train-gate.js';
import { foldOfPrompt } from '../gating/training-set.js';

/** Lists are by expert. */
export interface VotePrompt {
  /** Answers that are equal have equal keys; undefined for an expert that gave none. */
  readonly keys: readonly (string | undefined)[];
  readonly right: readonly boolean[];
  /** What asking the expert costs: billion parameters times thousand tokens of prompt and answer. */
  readonly cost: readonly number[];
  /** Before anything is asked: predicted quality, and cost with the predicted length. */
  readonly quality: readonly number[];
  readonly expectedCost: readonly number[];
  /** Prompt class that the gate puts it in. */
  readonly classId: string;
}

export interface VoteFold {
  /** What is chosen from; predicted by gates that did not see the prompt, nor any prompt of the test. */
  readonly train: readonly VotePrompt[];
  readonly test: readonly VotePrompt[];
}

/** Experts and the size of each, billion parameters. */
export type ExpertSizes = ReadonlyMap<string, number>;

const FOLDS = 4;
const INNER_FOLDS = 3;

/**
 * Cross-validation in two layers: 4 folds of train and test, and 3 inside each train. Trains 16 gates: a minute or two
 * for 1,700 prompts. `pause` is awaited between gates, and told how many are done.
 */
export async function voteFolds(
  outcomes: readonly Outcome[],
  sizes: ExpertSizes,
  seed: number,
  pause: (done: number, all: number) => Promise<void>,
): Promise<readonly VoteFold[]> {
  const all = FOLDS * (1 + INNER_FOLDS);
  let done = 0;
  const predicted = async (train: readonly Outcome[], test: readonly Outcome[]) => {
    await pause(done++, all);
    return predictedPrompts(train, test, sizes, seed);
  };
  const folds: VoteFold[] = [];
  for (const outer of splits(outcomes, seed + 7919, FOLDS)) {
    const test = await predicted(outer.train, outer.test);
    const train: VotePrompt[] = [];
    for (const inner of splits(outer.train, seed + 104_729, INNER_FOLDS)) {
      train.push(...(await predicted(inner.train, inner.test)));
    }
    folds.push({ train, test });
  }
  return folds;
}

function splits(outcomes: readonly Outcome[], seed: number, folds: number) {
  return Array.from({ length: folds }, (_, fold) => ({
    train: outcomes.filter(({ prompt }) => foldOfPrompt(prompt, seed, folds) !== fold),
    test: outcomes.filter(({ prompt }) => foldOfPrompt(prompt, seed, folds) === fold),
  }));
}

function predictedPrompts(
  train: readonly Outcome[],
  test: readonly Outcome[],
  sizes: ExpertSizes,
  seed: number,
): VotePrompt[] {
  const experts = [...sizes.keys()];
  const only = <T>(of: Readonly<Record<string, T>> | undefined) =>
    Object.fromEntries(Object.entries(of ?? {}).filter(([name]) => sizes.has(name)));
  const model = trainGate(
    train.map((one) => ({ ...one, y: only(one.y), out_tok: only(one.out_tok) })),
    { seed },
  );
  const scorer = new LinearScorer(model);
  const columns = experts.map((expert) => model.experts.findIndex(({ name }) => name === expert));
  return test.map((outcome) => {
    const score = scorer.score(outcome.prompt);
    const tokens = outcome.prompt_tok ?? score.promptTokens;
    const lengths = columns.map((column) => score.outputTokens[column] ?? 0);
    const cost = (expert: string, answer: number) => ((sizes.get(expert) ?? 0) * (tokens + answer)) / 1000;
    return {
      keys: experts.map((expert) => keyOf(outcome.ans?.[expert])),
      right: experts.map((expert) => (outcome.y[expert] ?? 0) >= 0.5),
      cost: experts.map((expert, at) => cost(expert, outcome.out_tok?.[expert] ?? lengths[at] ?? 0)),
      quality: columns.map((column) => score.quality[column] ?? 0),
      expectedCost: experts.map((expert, at) => cost(expert, lengths[at] ?? 0)),
      classId: model.classes[score.classIndex]?.id ?? '',
    };
  });
}

function keyOf(answer: string | null | undefined): string | undefined {
  return answer === null || answer === undefined ? undefined : canonicalAnswer(answer);
}
