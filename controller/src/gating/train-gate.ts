/**
 * Trains the gate: for each expert a predictor of its quality and answer length, from the prompt's text alone.
 *
 * The prompts' strongest directions and tasks (`prompt-map.ts`) come from prompts and tasks; what is fitted to outcomes is
 * fitted expert by expert (`blend-fit.ts`). So the gate of some experts is this gate without the others' fits
 * (`docs/formulation.md`, optimality-preserving).
 */
import { SeededRandom } from '@fleetgate/shared/random';

import { type BlendFit, fitBlend, knownOf, meanOf } from './blend-fit.js';
import { fitConfidence } from './confidence.js';
import { type ErrorBars, fitErrorBars } from './error-bars.js';
import { FEATURES_VERSION } from './features.js';
import type { AnswerConfidence } from './gate.js';
import { type ClassExpert, type ExpertFit, type GateModel, widthOf } from './gate-model.js';
import { matrix, rowOf } from './linear-algebra.js';
import type { Outcome } from './outcomes.js';
import { mapPrompts, type TrainedMap } from './prompt-map.js';
import { quantise } from './quantise.js';
import { type TrainingSet, TrainingSetBuilder } from './training-set.js';
import { probesOf } from './self-test.js';

/**
 * How far every expert's fit is shrunk. Constants, not chosen from outcomes: were they chosen for all experts together, each
 * would depend on the others; were each expert shrunk by its own best measure, how hard a prompt is would leak into the
 * differences between experts, and the one with the least shrinkage would win every easy prompt. Picked by
 * cross-validation on four sets of outcomes (`docs/formulation.md`).
 */
const QUALITY = { prior: 4, strength: 20 };
const LENGTH = { prior: 4, strength: 10 };
/** Answer length assumed when the outcomes have none, tokens. */
const UNKNOWN_OUTPUT_TOKENS = 128;

export interface TrainingOptions {
  readonly seed?: number;
  readonly outcomesSha256?: string;
  /** Called between steps with the share that is done, 0..1. */
  readonly onProgress?: (step: string, done: number) => void;
}

/** Learns from outcomes given one by one; same outcomes, order and seed give the same model. Blocks for seconds. */
export class GateTrainer {
  readonly #set: TrainingSetBuilder;
  readonly #options: TrainingOptions;

  constructor(options: TrainingOptions = {}) {
    this.#options = options;
    this.#set = new TrainingSetBuilder(options.seed ?? 1);
  }

  get size(): number {
    return this.#set.size;
  }

  add(outcome: Outcome): void {
    this.#set.add(outcome);
  }

  /** Throws `outcomes.invalid` when there are too few outcomes. */
  train(): GateModel {
    return trainOn(this.#set.build(), this.#options);
  }
}

/** Trains on all `outcomes` at once. */
export function trainGate(outcomes: Iterable<Outcome>, options: TrainingOptions = {}): GateModel {
  const trainer = new GateTrainer(options);
  for (const outcome of outcomes) trainer.add(outcome);
  return trainer.train();
}

function trainOn(set: TrainingSet, options: TrainingOptions): GateModel {
  const seed = options.seed ?? 1;
  const progress = options.onProgress ?? (() => {});
  const map = mapPrompts(set, new SeededRandom(seed), progress);
  progress('quality', 0.8);
  const quality = fitBlend(map, set.quality, QUALITY);
  progress('lengths', 0.9);
  const lengths = fitBlend(map, set.outputTokens, LENGTH);
  progress('weights', 0.95);
  const bars = set.quality.map((actual, expert) =>
    fitErrorBars(map, actual, (quality[expert]?.heldOut ?? new Float64Array()).map(clamp01)),
  );
  const { parts } = set.vocabulary;
  const model: Omit<GateModel, 'probes'> = {
    featuresVersion: FEATURES_VERSION,
    seed,
    trainedOn: set.size,
    outcomesSha256: options.outcomesSha256 ?? null,
    promptTokensScale: set.promptTokensScale,
    temperature: map.temperature,
    familiarity: map.familiarity,
    words: parts.words,
    tasks: set.tasks.map((label, task) => {
      const { atypical = 0, typical = 0 } = map.typicality[task] ?? {};
      return { label, intercept: map.directions.intercepts[task] ?? 0, atypical, typical };
    }),
    experts: set.experts.map((name, expert) =>
      expertFit(set, expert, name, quality[expert], lengths[expert], bars[expert]),
    ),
    classes: map.classes.map(({ id, label }, index) => ({
      id,
      label,
      task: map.taskOfClass[index] ?? 0,
      prompts: map.classOf.reduce((count, own) => count + (own === index ? 1 : 0), 0),
      experts: set.experts.map((_, expert) =>
        classExpert(set, map, index, {
          expert,
          offset: quality[expert]?.offsets[index] ?? 0,
          lengthOffset: lengths[expert]?.offsets[index] ?? 0,
          variance: bars[expert]?.classVariances[index] ?? 0,
        }),
      ),
    })),
    grams: parts.grams,
    idf: parts.idf,
    ...directionsOf(map),
    centroids: Float32Array.from(map.centroids.cells),
    qualityWeights: Float32Array.from(quality.flatMap((fit) => [...fit.coefficients])),
    lengthWeights: Float32Array.from(lengths.flatMap((fit) => [...fit.coefficients])),
  };
  const probes = probesOf(model);
  progress('done', 1);
  return { ...model, probes };
}

/** Features x width: the strongest directions, then those of the tasks, then columns of zeros that make the loops even. */
function directionsOf({ basis, directions }: TrainedMap) {
  const [rank, tasks] = [basis.columns, directions.weights.columns];
  const joined = matrix(basis.rows, widthOf(rank, tasks));
  for (let feature = 0; feature < joined.rows; feature++) {
    const into = rowOf(joined, feature);
    into.set(rowOf(basis, feature));
    into.set(rowOf(directions.weights, feature), rank);
  }
  const { values, scales } = quantise(joined);
  return { rank, directions: values, scales: [...scales] };
}

function expertFit(
  set: TrainingSet,
  expert: number,
  name: string,
  quality: BlendFit | undefined,
  lengths: BlendFit | undefined,
  bars: ErrorBars | undefined,
): ExpertFit {
  const known = knownOf(set.quality[expert]);
  const mean = meanOf(known);
  const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, known.length - 1);
  const tokens = knownOf(set.outputTokens[expert]);
  const confidence = confidenceOf(set, expert, quality?.heldOut);
  return {
    name,
    outcomes: known.length,
    mean,
    spread: Math.sqrt(variance),
    intercept: mean + (quality?.intercept ?? 0),
    classPart: bars?.classPart ?? 1,
    binomialPart: bars?.binomialPart ?? 0,
    lengthIntercept: tokens.length > 0 ? (lengths?.mean ?? 0) + (lengths?.intercept ?? 0) : UNKNOWN_OUTPUT_TOKENS,
    outputTokensMost:
      tokens.length > 0 ? tokens.reduce((most, value) => Math.max(most, value), 1) : UNKNOWN_OUTPUT_TOKENS,
    ...(confidence === undefined ? {} : { confidence }),
  };
}

/** Of the prompts that are known both ways, beside what the gate said of them without having seen them. */
function confidenceOf(
  set: TrainingSet,
  expert: number,
  heldOut: Float64Array | undefined,
): AnswerConfidence | undefined {
  const answers: { meanLogProb: number; predicted: number; actual: number }[] = [];
  set.confidence[expert]?.forEach((meanLogProb, row) => {
    const [actual, predicted] = [set.quality[expert]?.[row] ?? NaN, heldOut?.[row] ?? NaN];
    if (!Number.isNaN(meanLogProb + actual + predicted)) answers.push({ meanLogProb, predicted, actual });
  });
  return fitConfidence(answers);
}

function classExpert(
  set: TrainingSet,
  map: TrainedMap,
  index: number,
  fit: { readonly expert: number; readonly offset: number; readonly lengthOffset: number; readonly variance: number },
): ClassExpert {
  const own = (values: Float64Array | undefined) => knownOf(values?.filter((_, row) => map.classOf[row] === index));
  const known = own(set.quality[fit.expert]);
  const all = knownOf(set.quality[fit.expert]);
  // A class without outcomes of an expert has that expert's overall mean.
  const mean = meanOf(known.length > 0 ? known : all);
  const squares = (values: Float64Array) => values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const lengths = own(set.outputTokens[fit.expert]);
  return {
    mean,
    standardError:
      known.length >= 2
        ? Math.sqrt(squares(known) / (known.length - 1) / known.length)
        : Math.sqrt(squares(all) / Math.max(1, all.length)),
    offset: fit.offset,
    residualVariance: fit.variance,
    outputTokens: lengths.length > 0 ? meanOf(lengths) : UNKNOWN_OUTPUT_TOKENS,
    lengthOffset: fit.lengthOffset,
  };
}

function clamp01(value: number): number {
  return Math.min(1, Math.max(0, value));
}
