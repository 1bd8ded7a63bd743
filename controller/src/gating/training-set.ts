import { FleetError } from '@fleetgate/shared/errors';

import { NO_TASK, wordsOf } from './class-labels.js';
import { FeatureExtractor } from './features.js';
import type { Outcome } from './outcomes.js';
import { countGrams, gatherVocabulary, type GramCounts, type SparseVector, Vocabulary } from './vocabulary.js';

/** Folds of the cross-validation inside training. */
export const FOLDS = 5;
/** Rarer tasks than these share one: each has a direction of its own, and costs time at every prompt. */
const MOST_TASKS = 24;
const FEWEST_PROMPTS = 4;
const RARE_TASKS = 'other';

export interface TrainingSet {
  readonly size: number;
  readonly vocabulary: Vocabulary;
  readonly rows: readonly SparseVector[];
  /** Share of each prompt's grams that the vocabulary has. */
  readonly known: Float64Array;
  /** Words of each prompt, to name classes by. */
  readonly words: readonly (readonly string[])[];
  readonly foldOf: Uint8Array;
  readonly experts: readonly string[];
  readonly tasks: readonly string[];
  readonly taskOf: Uint8Array;
  /** Per expert, one value per row; NaN where it was not measured. */
  readonly quality: readonly Float64Array[];
  readonly outputTokens: readonly Float64Array[];
  readonly confidence: readonly Float64Array[];
  readonly promptTokensScale: number;
}

/** Gathers outcomes one by one; prompts are turned into counts at once and not kept. */
export class TrainingSetBuilder {
  readonly #extractor = new FeatureExtractor();
  readonly #counts: GramCounts[] = [];
  readonly #words: (readonly string[])[] = [];
  readonly #folds: number[] = [];
  readonly #tasks: string[] = [];
  readonly #quality: ReadonlyMap<string, number>[] = [];
  readonly #outputTokens: ReadonlyMap<string, number>[] = [];
  readonly #confidence: ReadonlyMap<string, number>[] = [];
  readonly #tokenRatios: number[] = [];
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#counts.length;
  }

  add(outcome: Outcome): void {
    const features = this.#extractor.extract(outcome.prompt);
    this.#counts.push(countGrams(features));
    this.#words.push(wordsOf(outcome.prompt));
    this.#folds.push(foldOfPrompt(outcome.prompt, this.#seed, FOLDS));
    this.#tasks.push(outcome.task ?? NO_TASK);
    this.#quality.push(new Map(Object.entries(outcome.y)));
    this.#outputTokens.push(knownOnes(outcome.out_tok));
    this.#confidence.push(knownOnes(outcome.conf));
    if (outcome.prompt_tok !== undefined && outcome.prompt_tok > 0) {
      this.#tokenRatios.push(outcome.prompt_tok / features.promptTokens);
    }
  }

  /** Throws `outcomes.invalid` when there is too little to learn from. */
  build(): TrainingSet {
    if (this.size < 2 * FOLDS) {
      throw new FleetError(
        'outcomes.invalid',
        `expected at least ${2 * FOLDS} outcomes to train on, got ${this.size}`,
        {
          hint: 'make outcomes with: fleetgate outcomes',
        },
      );
    }
    const vocabulary = new Vocabulary(gatherVocabulary(this.#counts));
    const experts = [...new Set(this.#quality.flatMap((row) => [...row.keys()]))].sort();
    const tasks = frequentTasks(this.#tasks);
    const indexOf = new Map(tasks.kept.map((task, index) => [task, index]));
    const column = (rows: readonly ReadonlyMap<string, number>[], expert: string) =>
      Float64Array.from(rows, (row) => row.get(expert) ?? NaN);
    const vectors = this.#counts.map((counts) => vocabulary.rowOf(counts));
    return {
      size: this.size,
      vocabulary,
      rows: vectors.map(({ row }) => row),
      known: Float64Array.from(vectors, ({ known }) => known),
      words: this.#words,
      foldOf: Uint8Array.from(this.#folds),
      experts,
      tasks: tasks.kept,
      taskOf: Uint8Array.from(this.#tasks, (task) => indexOf.get(tasks.of(task)) ?? 0),
      quality: experts.map((expert) => column(this.#quality, expert)),
      outputTokens: experts.map((expert) => column(this.#outputTokens, expert)),
      confidence: experts.map((expert) => column(this.#confidence, expert)),
      promptTokensScale: median(this.#tokenRatios) ?? 1,
    };
  }
}

function knownOnes(values: Readonly<Record<string, number | null>> = {}): ReadonlyMap<string, number> {
  return new Map(Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== null));
}

/** Fold of a prompt, by its text: a prompt that occurs twice is never on both sides of a split. */
export function foldOfPrompt(prompt: string, seed: number, folds: number): number {
  let hash = seed | 0;
  const text = prompt.slice(0, 2_000).trim().toLowerCase();
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0) % folds;
}

function frequentTasks(tasks: readonly string[]): { readonly kept: readonly string[]; of(task: string): string } {
  const counts = new Map<string, number>();
  for (const task of tasks) counts.set(task, (counts.get(task) ?? 0) + 1);
  const frequent = [...counts]
    .filter(([, count]) => count >= FEWEST_PROMPTS)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, MOST_TASKS - 1)
    .map(([task]) => task);
  const common = new Set(frequent);
  const of = (task: string) => (common.has(task) ? task : RARE_TASKS);
  return { kept: [...new Set(tasks.map(of))].sort(), of };
}

function median(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
