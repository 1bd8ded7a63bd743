/** What masks cost, and what one more expert does, on measured outcomes: softmax gates beside ours. */
import { SeededRandom } from '@fleetgate/shared/random';

import { FeatureExtractor } from '../gating/features.js';
import { type Matrix, matrix, principalSubspace, rowOf, sparseTimes } from '../gating/linear-algebra.js';
import { LinearScorer } from '../gating/linear-scorer.js';
import type { Outcome } from '../gating/outcomes.js';
import { trainGate } from '../gating/train-gate.js';
import { foldOfPrompt, TrainingSetBuilder } from '../gating/training-set.js';
import { countGrams, featureCount } from '../gating/vocabulary.js';

import { meanOf, spread } from './distribution.js';
import {
  type Falls,
  fallsOf,
  type MaskRegret,
  maskRegret,
  type Prompts,
  randomSelections,
  type Use,
  valueOf,
} from './mask-regret.js';
import { columnsOf, logitsOf, type SoftmaxLoss, trainSoftmax } from './softmax-gate.js';
import { sharedExperts } from './trade-off-figures.js';

const LOSSES: readonly SoftmaxLoss[] = ['best expert', 'mixture'];
/** One prompt of so many is held out. */
const HELD_OUT = 4;
const MOST_PROMPTS = 1_000;
/** Directions of the prompts that the softmax sees, as many as our gate. */
const RANK = 192;
const SELECTIONS = 12;
const PAIRS = 2_000;
/** Selections that our gate is trained on anew. */
const RETRAINED_GATES = 2;

export interface NamedFalls extends Falls {
  readonly what: string;
}

export interface MaskFigures {
  readonly prompts: number;
  readonly heldOut: number;
  readonly experts: readonly string[];
  /** By what training makes small. */
  readonly softmax: readonly MaskRegret[];
  /** Largest difference, over held-out prompts and experts, of our gate masked and trained on the selection. */
  readonly gateDifference: number;
  /** Held-out quality of our gate's choice, of each prompt's best expert and of the best single one; same selections. */
  readonly gateChosen: number;
  readonly oracle: number;
  readonly bestSingle: number;
  readonly falls: readonly NamedFalls[];
}

interface Split {
  readonly train: readonly Outcome[];
  readonly test: readonly Outcome[];
  readonly experts: readonly string[];
  readonly seed: number;
}

/**
 * On the experts that every outcome has, and at most 1,000 prompts spread over the set. Takes ten to sixty seconds; `pause`
 * is awaited between steps. Same outcomes and seed, same figures.
 */
export async function maskFigures(
  outcomes: readonly Outcome[],
  seed: number,
  pause: () => Promise<void>,
): Promise<MaskFigures> {
  const kept = spread(outcomes, MOST_PROMPTS);
  const isHeldOut = (outcome: Outcome) => foldOfPrompt(outcome.prompt, seed, HELD_OUT) === 0;
  const [train, test] = [kept.filter((one) => !isHeldOut(one)), kept.filter(isHeldOut)];
  const split: Split = { train, test, experts: sharedExperts(outcomes), seed };
  const selections = randomSelections(split.experts.length, SELECTIONS, new SeededRandom(seed));
  const [trained, heldOut] = promptsOf(split);
  const softmax: MaskRegret[] = [];
  const falls: NamedFalls[] = [];
  for (const loss of LOSSES) {
    await pause();
    const full = trainSoftmax({ features: trained.features, quality: trained.quality, loss });
    softmax.push(maskRegret(trained, heldOut, loss, full, selections));
    const logits = logitsOf(full, heldOut.features);
    falls.push(fallsBy(`masked softmax (${loss}), mixture`, logits, heldOut.quality, 'mixed', seed));
    falls.push(fallsBy(`masked softmax (${loss}), largest share`, logits, heldOut.quality, 'chosen', seed));
  }
  await pause();
  const ours = gateFigures(split, heldOut.quality, selections);
  return {
    prompts: train.length,
    heldOut: test.length,
    experts: split.experts,
    softmax,
    ...ours,
    falls: [...falls, ...ours.falls],
  };
}

function fallsBy(what: string, logits: Matrix, quality: Matrix, use: Use, seed: number): NamedFalls {
  const random = new SeededRandom(seed);
  const grown = randomSelections(logits.columns, PAIRS, random);
  return { what, ...fallsOf((own) => valueOf(logits, quality, own, use), grown, logits.columns, random) };
}

/** Our gate, trained once and masked, on the same prompts. */
function gateFigures(split: Split, quality: Matrix, selections: readonly (readonly number[])[]) {
  const predicted = predictionsOf(split);
  const differences = selections.slice(0, RETRAINED_GATES).map((selection) => {
    const experts = selection.flatMap((at) => split.experts.slice(at, at + 1));
    return largestDifference(columnsOf(predicted, selection), predictionsOf({ ...split, experts }));
  });
  const single = (expert: number) => valueOf(quality, quality, [expert], 'chosen');
  return {
    gateDifference: Math.max(...differences),
    gateChosen: meanOf(selections.map((selection) => valueOf(predicted, quality, selection, 'chosen'))),
    oracle: meanOf(selections.map((selection) => valueOf(quality, quality, selection, 'chosen'))),
    bestSingle: meanOf(selections.map((selection) => Math.max(...selection.map(single)))),
    falls: [
      fallsBy('our gate, predicted quality', predicted, predicted, 'chosen', split.seed),
      fallsBy('our gate, measured quality', predicted, quality, 'chosen', split.seed),
    ],
  };
}

function promptsOf({ train, test, experts, seed }: Split): readonly [Prompts, Prompts] {
  const builder = new TrainingSetBuilder(seed);
  for (const outcome of train) builder.add(outcome);
  const set = builder.build();
  const { basis, scores } = principalSubspace(
    set.rows,
    featureCount(set.vocabulary.parts),
    RANK,
    new SeededRandom(seed),
  );
  const extractor = new FeatureExtractor();
  const rows = test.map(({ prompt }) => set.vocabulary.rowOf(countGrams(extractor.extract(prompt))).row);
  return [
    { features: scores, quality: qualityOf(train, experts) },
    { features: sparseTimes(rows, basis), quality: qualityOf(test, experts) },
  ];
}

function qualityOf(outcomes: readonly Outcome[], experts: readonly string[]): Matrix {
  const quality = matrix(outcomes.length, experts.length);
  outcomes.forEach(({ y }, row) => rowOf(quality, row).set(experts.map((expert) => y[expert] ?? 0)));
  return quality;
}

/** Test prompts x experts: quality as our gate predicts it, trained on the outcomes of `experts` alone. */
function predictionsOf({ train, test, experts, seed }: Split): Matrix {
  const kept = new Set(experts);
  const only = (y: Outcome['y']) => Object.fromEntries(Object.entries(y).filter(([name]) => kept.has(name)));
  const model = trainGate(
    train.map((outcome) => ({ ...outcome, y: only(outcome.y), out_tok: {} })),
    { seed },
  );
  const scorer = new LinearScorer(model);
  const predicted = matrix(test.length, experts.length);
  test.forEach(({ prompt }, row) => rowOf(predicted, row).set(scorer.score(prompt).quality));
  return predicted;
}

function largestDifference(a: Matrix, b: Matrix): number {
  return a.cells.reduce((most, value, at) => Math.max(most, Math.abs(value - (b.cells[at] ?? NaN))), 0);
}
