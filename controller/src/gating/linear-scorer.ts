import { FeatureExtractor } from './features.js';
import { type GateModel, widthOf } from './gate-model.js';
import { classProbabilities, familiarityOf } from './prompt-classes.js';
import { Projection } from './projection.js';
import { atypicality, indexOfLargest, posterior } from './task-posterior.js';
import { Vocabulary } from './vocabulary.js';

/** What a gate says of one prompt, by the names of the outcome file; arrays in the order of the model's experts. */
export interface LinearScore {
  readonly classIndex: number;
  /** Probability of each class. */
  readonly classProbabilities: Float64Array;
  readonly promptTokens: number;
  readonly quality: Float64Array;
  readonly sd: Float64Array;
  readonly outputTokens: Float64Array;
  /** Where the prompt lies: a unit vector in the space of the model's centroids; zeros for a prompt of nothing known. */
  readonly embedding: Float64Array;
  /** 0 for a prompt like those trained on, up to 1 for one that shares nothing with them. */
  readonly novelty: number;
}

/** Applies a gate model. What is fitted to an expert is its own, so leaving experts out never changes another's score. */
export class LinearScorer {
  readonly model: GateModel;
  readonly #extractor = new FeatureExtractor();
  readonly #vocabulary: Vocabulary;
  readonly #projection: Projection;
  /** Along each direction. */
  readonly #sums: Float64Array;
  readonly #cosines: Float64Array;
  readonly #tasks: Float64Array;
  readonly #taskOfClass: Uint16Array;
  /** Class by class, expert by expert: offset, variance, length offset. */
  readonly #offsets: Float64Array;
  readonly #variances: Float64Array;
  readonly #lengths: Float64Array;

  constructor(model: GateModel) {
    this.model = model;
    const width = widthOf(model.rank, model.tasks.length);
    this.#projection = new Projection(model.directions, width);
    this.#vocabulary = new Vocabulary(model, this.#projection);
    this.#sums = new Float64Array(width);
    this.#cosines = new Float64Array(model.classes.length);
    this.#tasks = new Float64Array(model.tasks.length);
    this.#taskOfClass = Uint16Array.from(model.classes, ({ task }) => task);
    const all = model.classes.flatMap(({ experts }) => experts);
    this.#offsets = Float64Array.from(all, ({ offset }) => offset);
    this.#variances = Float64Array.from(all, ({ residualVariance }) => residualVariance);
    this.#lengths = Float64Array.from(all, ({ lengthOffset }) => lengthOffset);
  }

  /** Synchronous; about 0.1 ms for a prompt of 500 tokens, and bounded for any (`features.ts`). */
  score(prompt: string): LinearScore {
    const features = this.#extractor.extract(prompt);
    const vector = this.#vocabulary.vectorOf(features);
    this.#projection.project(vector.length);
    const { sums } = this.#projection;
    this.model.scales.forEach((scale, at) => (this.#sums[at] = (sums[at] ?? 0) * scale));
    return this.#read(features.promptTokens, vector.known);
  }

  #read(promptTokens: number, known: number): LinearScore {
    const { rank, tasks, classes, temperature, familiarity, promptTokensScale } = this.model;
    const place = this.#sums.subarray(0, rank);
    const embedding = unitOf(place);
    dots(this.model.centroids, embedding, this.#cosines);
    tasks.forEach(({ intercept }, at) => (this.#tasks[at] = (this.#sums[rank + at] ?? 0) + intercept));
    const likeliest = indexOfLargest(this.#tasks);
    const task = tasks[likeliest];
    const unlike = task === undefined ? 0 : atypicality(this.#tasks[likeliest] ?? 0, task);
    posterior(this.#tasks, temperature, this.#tasks);
    const probabilities = new Float64Array(classes.length);
    classProbabilities(this.#taskOfClass, this.#cosines, this.#tasks, probabilities);
    const familiar = familiarityOf(place, this.#cosines, known);
    const strange = familiarity > 0 ? Math.min(1, Math.max(0, 1 - familiar / familiarity)) : 0;
    return {
      classIndex: indexOfLargest(probabilities),
      classProbabilities: probabilities,
      promptTokens: Math.max(1, Math.round(promptTokens * promptTokensScale)),
      ...this.#experts(place, probabilities, strange),
      embedding,
      novelty: Math.max(unlike, strange),
    };
  }

  #experts(place: Float64Array, probabilities: Float64Array, strange: number) {
    const { experts, qualityWeights, lengthWeights } = this.model;
    const count = experts.length;
    const quality = new Float64Array(count);
    const outputTokens = new Float64Array(count);
    const variances = new Float64Array(count);
    dots(qualityWeights, place, quality);
    dots(lengthWeights, place, outputTokens);
    for (let index = 0; index < probabilities.length; index++) {
      const share = probabilities[index] ?? 0;
      const base = index * count;
      for (let at = 0; at < count; at++) {
        quality[at] = (quality[at] ?? 0) + share * (this.#offsets[base + at] ?? 0);
        variances[at] = (variances[at] ?? 0) + share * (this.#variances[base + at] ?? 0);
        outputTokens[at] = (outputTokens[at] ?? 0) + share * (this.#lengths[base + at] ?? 0);
      }
    }
    experts.forEach((expert, at) => {
      const likely = clamp01((quality[at] ?? 0) + expert.intercept);
      // What was never seen is answered with what is known of the expert in general, and with its whole spread.
      quality[at] = (1 - strange) * likely + strange * expert.mean;
      const variance = expert.classPart * (variances[at] ?? 0) + expert.binomialPart * likely * (1 - likely);
      variances[at] = Math.sqrt(variance + strange * expert.spread ** 2);
      outputTokens[at] = Math.min(
        expert.outputTokensMost,
        Math.max(1, (outputTokens[at] ?? 0) + expert.lengthIntercept),
      );
    });
    return { quality, sd: variances, outputTokens };
  }
}

/** Dot product of the vector with each row. */
function dots(rows: Float32Array, vector: Float64Array, into: Float64Array): void {
  const width = vector.length;
  for (let row = 0; row < into.length; row++) {
    const base = row * width;
    let sum = 0;
    for (let at = 0; at < width; at++) sum += (rows[base + at] ?? 0) * (vector[at] ?? 0);
    into[row] = sum;
  }
}

function unitOf(vector: Float64Array): Float64Array {
  let square = 0;
  for (let at = 0; at < vector.length; at++) square += (vector[at] ?? 0) ** 2;
  const norm = Math.sqrt(square);
  return norm > 0 ? vector.map((value) => value / norm) : vector.slice();
}

function clamp01(value: number): number {
  return Math.min(1, Math.max(0, value));
}
