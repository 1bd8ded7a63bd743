import { FleetError } from '@fleetgate/shared/errors';
import { type ClassId, classId } from '@fleetgate/shared/ids';

import { FEATURE_COUNT, FeatureExtractor, type SparseVector, weighted } from './features.js';
import type { Outcome } from './outcomes.js';

/** Folds of the cross-validation inside training. */
export const FOLDS = 5;
/** Rarer tasks than these share one class: a class needs prompts to be told apart by, and planning is by class. */
const MOST_CLASSES = 64;
const FEWEST_PROMPTS = 4;
const NO_TASK = 'general';
const RARE_TASKS = 'other';

export interface TrainingSet {
  readonly size: number;
  readonly idf: Float32Array;
  readonly rows: readonly SparseVector[];
  readonly foldOf: Uint8Array;
  readonly experts: readonly string[];
  readonly classes: readonly { readonly id: ClassId; readonly label: string }[];
  readonly classOf: Uint8Array;
  /** Per expert, one value per row; NaN where it was not measured. */
  readonly quality: readonly Float64Array[];
  readonly outputTokens: readonly Float64Array[];
  readonly promptTokensScale: number;
}

/** Gathers outcomes one by one; prompts are turned into features at once and not kept. */
export class TrainingSetBuilder {
  readonly #extractor = new FeatureExtractor();
  readonly #counts: SparseVector[] = [];
  readonly #folds: number[] = [];
  readonly #tasks: string[] = [];
  readonly #quality: ReadonlyMap<string, number>[] = [];
  readonly #outputTokens: ReadonlyMap<string, number>[] = [];
  readonly #documents = new Float32Array(FEATURE_COUNT);
  readonly #tokenRatios: number[] = [];
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#counts.length;
  }

  add(outcome: Outcome): void {
    const { counts, promptTokens } = this.#extractor.extract(outcome.prompt);
    this.#counts.push(counts);
    for (const index of counts.indices) this.#documents[index] = (this.#documents[index] ?? 0) + 1;
    this.#folds.push(foldOfPrompt(outcome.prompt, this.#seed, FOLDS));
    this.#tasks.push(outcome.task ?? NO_TASK);
    this.#quality.push(new Map(Object.entries(outcome.y)));
    const lengths = Object.entries(outcome.out_tok ?? {}).filter(
      (entry): entry is [string, number] => entry[1] !== null,
    );
    this.#outputTokens.push(new Map(lengths));
    if (outcome.prompt_tok !== undefined && outcome.prompt_tok > 0) {
      this.#tokenRatios.push(outcome.prompt_tok / promptTokens);
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
    const idf = this.#documents.map((count) => Math.log((1 + this.size) / (1 + count)) + 1);
    const experts = [...new Set(this.#quality.flatMap((row) => [...row.keys()]))].sort();
    const labels = classLabels(this.#tasks);
    const classes = labelledClasses(labels.kept);
    const indexByLabel = new Map(classes.map(({ label }, index) => [label, index]));
    const column = (rows: readonly ReadonlyMap<string, number>[], expert: string) =>
      Float64Array.from(rows, (row) => row.get(expert) ?? NaN);
    return {
      size: this.size,
      idf,
      rows: this.#counts.map((counts) => weighted(counts, idf)),
      foldOf: Uint8Array.from(this.#folds),
      experts,
      classes,
      classOf: Uint8Array.from(this.#tasks, (task) => indexByLabel.get(labels.of(task)) ?? 0),
      quality: experts.map((expert) => column(this.#quality, expert)),
      outputTokens: experts.map((expert) => column(this.#outputTokens, expert)),
      promptTokensScale: median(this.#tokenRatios) ?? 1,
    };
  }
}

/** Fold of a prompt, by its text: a prompt that occurs twice is never on both sides of a split. */
export function foldOfPrompt(prompt: string, seed: number, folds: number): number {
  let hash = seed | 0;
  const text = prompt.slice(0, 2_000).trim().toLowerCase();
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0) % folds;
}

function classLabels(tasks: readonly string[]): { readonly kept: readonly string[]; of(task: string): string } {
  const counts = new Map<string, number>();
  for (const task of tasks) counts.set(task, (counts.get(task) ?? 0) + 1);
  const frequent = [...counts]
    .filter(([, count]) => count >= FEWEST_PROMPTS)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, MOST_CLASSES - 1)
    .map(([task]) => task);
  const common = new Set(frequent);
  const of = (task: string) => (common.has(task) ? task : RARE_TASKS);
  return { kept: [...new Set(tasks.map(of))].sort(), of };
}

function labelledClasses(labels: readonly string[]): { id: ClassId; label: string }[] {
  const used = new Set<string>();
  return labels.map((label) => {
    const slug =
      label
        .toLowerCase()
        .replace(/[^a-z0-9._-]+/g, '-')
        .replace(/^[^a-z0-9]+/, '')
        .slice(0, 56)
        .replace(/[^a-z0-9]+$/, '') || 'class';
    let name = slug;
    for (let next = 2; used.has(name); next++) name = `${slug}-${next}`;
    used.add(name);
    return { id: classId(name), label };
  });
}

function median(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
