/**
 * Trains the gate: for each expert a predictor of its quality, from features of the prompt alone.
 *
 * The prompts' strongest directions (`principalSubspace`) carry ridge regressions of quality (`quality-fit.ts`), answer
 * length and class. What is kept is one weight per feature and output, so that scoring a prompt is one sparse product.
 *
 * Directions, classes and folds come from prompts and tasks; what is fitted to outcomes is fitted expert by expert. So
 * the gate of some experts is this gate without the others' columns (`docs/formulation.md`, optimality-preserving).
 */
import type { Outcome } from './outcomes.js';
import { heldOutProbabilities, temperatureOf } from './blend-predictions.js';
import { FEATURE_COUNT, FEATURES_VERSION } from './features.js';
import { type ClassExpert, type ExpertFit, type GateModel } from './gate-model.js';
import { type Matrix, matrix, principalSubspace, rowOf } from './linear-algebra.js';
import { fitQuality, knownOf, meanOf, type QualityFit } from './quality-fit.js';
import { fitRidge, type RidgeFit } from './ridge.js';
import { FOLDS, type TrainingSet, TrainingSetBuilder } from './training-set.js';
import { SeededRandom } from '@fleetgate/shared/random';

/** Directions kept; more did not lower held-out error on the public routing data. */
const RANK = 192;
/** Answer length assumed when the outcomes have none, tokens. */
const UNKNOWN_OUTPUT_TOKENS = 128;
/** Share of the training prompts that count as unlike the rest. */
const UNFAMILIAR_SHARE = 0.01;

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
  const folds = { of: set.foldOf, count: FOLDS };
  progress('directions', 0);
  const { basis, scores } = principalSubspace(set.rows, FEATURE_COUNT, RANK, new SeededRandom(seed));
  progress('classes', 0.6);
  const labels = set.classes.map((_, index) => Float64Array.from(set.classOf, (own) => (own === index ? 1 : 0)));
  const classes = fitRidge(scores, labels, folds);
  const temperature = temperatureOf(classes, set.classOf);
  const probabilities = heldOutProbabilities(classes, set.size, temperature);
  progress('quality', 0.7);
  const quality = fitQuality(set, scores, probabilities);
  progress('lengths', 0.85);
  const logarithms = set.outputTokens.map((tokens) => tokens.map((value) => Math.log1p(value)));
  const lengths = fitRidge(scores, logarithms, folds);
  progress('weights', 0.95);
  const centroids = centroidsOf(set);
  const fits = [...quality.map((fit) => fit.coefficients), ...[...lengths, ...classes].map((fit) => fit.coefficients)];
  const packed = quantise(weightColumns(basis, fits, centroids.directions));
  progress('done', 1);
  return {
    featuresVersion: FEATURES_VERSION,
    featureCount: FEATURE_COUNT,
    seed,
    trainedOn: set.size,
    outcomesSha256: options.outcomesSha256 ?? null,
    promptTokensScale: set.promptTokensScale,
    temperature,
    familiarity: familiarityOf(set, centroids),
    experts: set.experts.map((name, expert) => expertFit(set, expert, name, quality[expert], lengths[expert])),
    classes: set.classes.map(({ id, label }, index) => ({
      id,
      label,
      prompts: set.classOf.reduce((count, own) => count + (own === index ? 1 : 0), 0),
      experts: set.experts.map((_, expert) => classExpert(set, expert, index, quality[expert])),
    })),
    intercepts: [
      ...quality.map((fit) => fit.intercept),
      ...lengths.map((fit) => (fit.intercept > 0 ? fit.intercept : Math.log1p(UNKNOWN_OUTPUT_TOKENS))),
      ...classes.map((fit) => fit.intercept),
      ...set.classes.map(() => 0),
    ],
    scales: [...packed.scales],
    idf: set.idf,
    weights: packed.weights,
  };
}

function expertFit(
  set: TrainingSet,
  expert: number,
  name: string,
  quality: QualityFit | undefined,
  lengths: RidgeFit | undefined,
): ExpertFit {
  const known = knownOf(set.quality[expert]);
  const mean = meanOf(known);
  const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, known.length - 1);
  let [actual, predicted, most] = [0, 0, 0];
  set.outputTokens[expert]?.forEach((value, row) => {
    const heldOut = lengths?.heldOut[row] ?? NaN;
    if (Number.isNaN(value) || Number.isNaN(heldOut)) return;
    actual += value;
    predicted += Math.max(1, Math.expm1(heldOut));
    most = Math.max(most, value);
  });
  return {
    name,
    outcomes: known.length,
    mean,
    spread: Math.sqrt(variance),
    sdScale: quality?.residuals.sdScale ?? 1,
    outputTokensScale: predicted > 0 ? actual / predicted : 1,
    outputTokensMost: most > 0 ? most : UNKNOWN_OUTPUT_TOKENS,
  };
}

function classExpert(set: TrainingSet, expert: number, index: number, quality: QualityFit | undefined): ClassExpert {
  const own = (values: Float64Array | undefined) => knownOf(values?.filter((_, row) => set.classOf[row] === index));
  const known = own(set.quality[expert]);
  const all = knownOf(set.quality[expert]);
  // A class without outcomes of an expert has that expert's overall mean.
  const mean = meanOf(known.length > 0 ? known : all);
  const squares = (values: Float64Array) => values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const lengths = own(set.outputTokens[expert]);
  return {
    mean,
    standardError:
      known.length >= 2
        ? Math.sqrt(squares(known) / (known.length - 1) / known.length)
        : Math.sqrt(squares(all) / Math.max(1, all.length)),
    offset: quality?.offsets[index] ?? 0,
    residualVariance: quality?.residuals.classVariances[index] ?? 0,
    outputTokens: lengths.length > 0 ? meanOf(lengths) : UNKNOWN_OUTPUT_TOKENS,
  };
}

interface Centroids {
  /** Unit vectors, classes x features: the mean direction of each class's prompts. */
  readonly directions: Matrix;
  /** Length of each class's sum of prompts. */
  readonly norms: readonly number[];
}

function centroidsOf(set: TrainingSet): Centroids {
  const directions = matrix(set.classes.length, FEATURE_COUNT);
  set.rows.forEach((row, at) => {
    const into = rowOf(directions, set.classOf[at] ?? 0);
    row.indices.forEach((index, k) => (into[index] = (into[index] ?? 0) + (row.values[k] ?? 0)));
  });
  const norms = set.classes.map((_, at) => {
    const row = rowOf(directions, at);
    const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    row.forEach((value, index) => (row[index] = norm > 0 ? value / norm : 0));
    return norm;
  });
  return { directions, norms };
}

/** Similarity to the nearest centroid that all but a small share of the prompts reach, each left out of its centroid. */
function familiarityOf(set: TrainingSet, centroids: Centroids): number {
  const nearest = set.rows.map((row, own) => {
    const ownSquare = row.values.reduce((sum, value) => sum + value * value, 0);
    return centroids.norms.reduce((best, norm, at) => {
      const centroid = rowOf(centroids.directions, at);
      let product = 0;
      for (let k = 0; k < row.indices.length; k++) {
        product += (row.values[k] ?? 0) * (centroid[row.indices[k] ?? 0] ?? 0) * norm;
      }
      if (set.classOf[own] !== at) return Math.max(best, product / norm);
      const rest = Math.sqrt(Math.max(0, norm * norm - 2 * product + ownSquare));
      return rest > 1e-9 ? Math.max(best, (product - ownSquare) / rest) : best;
    }, 0);
  });
  return nearest.sort((a, b) => a - b)[Math.floor(UNFAMILIAR_SHARE * nearest.length)] ?? 0;
}

/** Features x columns: what each output gives for a unit of each feature. */
function weightColumns(basis: Matrix, coefficients: readonly Float64Array[], centroids: Matrix): Matrix {
  const weights = matrix(FEATURE_COUNT, coefficients.length + centroids.rows);
  for (let feature = 0; feature < FEATURE_COUNT; feature++) {
    const direction = rowOf(basis, feature);
    const into = rowOf(weights, feature);
    coefficients.forEach((own, column) => {
      let sum = 0;
      for (let at = 0; at < direction.length; at++) sum += (direction[at] ?? 0) * (own[at] ?? 0);
      into[column] = sum;
    });
    for (let at = 0; at < centroids.rows; at++) into[coefficients.length + at] = rowOf(centroids, at)[feature] ?? 0;
  }
  return weights;
}

/** To 16 bits with one scale per column: the error is far below that of the prediction, the file half of float32. */
function quantise(of: Matrix): { readonly weights: Int16Array; readonly scales: Float64Array } {
  const scales = new Float64Array(of.columns);
  of.cells.forEach((value, cell) => {
    const column = cell % of.columns;
    scales[column] = Math.max(scales[column] ?? 0, Math.abs(value));
  });
  scales.forEach((largest, column) => (scales[column] = largest / 32_767));
  const weights = new Int16Array(of.cells.length);
  of.cells.forEach((value, cell) => {
    const scale = scales[cell % of.columns] ?? 0;
    weights[cell] = scale > 0 ? Math.round(value / scale) : 0;
  });
  return { weights, scales };
}
