/** The grams that a gate knows, and the vector they make of a prompt. */
import { SHAPES, type PromptFeatures } from './features.js';
import { HashTable } from './hash-table.js';

/** Grams that occur in fewer prompts say nothing of other prompts. */
const FEWEST_PROMPTS = 3;
/** Of more grams the ones in fewest prompts are left out: they cost memory and help few prompts. */
const MOST_GRAMS = 24_576;

/** Squared norms of the parts of a prompt's vector; they sum to 1. */
const WORD_WEIGHT = 0.55;
const CHAR_WEIGHT = 0.35;
const SHAPE_WEIGHT = 0.1;

export interface SparseVector {
  readonly indices: Int32Array;
  readonly values: Float32Array;
}

/** How often each gram occurs in one prompt. */
export interface GramCounts {
  /** Distinct hashes, words and word pairs first. */
  readonly grams: Int32Array;
  readonly counts: Uint16Array;
  readonly words: number;
  readonly shape: Float32Array;
}

export interface VocabularyParts {
  /** Hash of each gram, words and word pairs first. */
  readonly grams: Int32Array;
  readonly words: number;
  /** Inverse document frequency of each gram. */
  readonly idf: Float32Array;
}

/** A prompt's vector, valid until the vocabulary makes the next one, and how much of the prompt is in it. */
export interface PromptVector {
  readonly length: number;
  readonly indices: Int32Array;
  readonly values: Float32Array;
  /** Share of the prompt's grams that the vocabulary has, the mean over words and over character trigrams; 0..1. */
  readonly known: number;
}

/** Length of a vector: the grams, then the shape figures. */
export function featureCount(parts: VocabularyParts): number {
  return parts.grams.length + SHAPES;
}

/** Turns prompts into unit vectors. Reuses its arrays; not shared between threads. */
export class Vocabulary {
  readonly parts: VocabularyParts;
  readonly #table: HashTable;
  readonly #counts: Uint16Array;
  readonly #indices: Int32Array;
  readonly #values: Float32Array;

  /** Vectors are written to `into`, which has room for `featureCount`. */
  constructor(parts: VocabularyParts, into?: SparseVector) {
    this.parts = parts;
    this.#table = new HashTable(parts.grams);
    this.#counts = new Uint16Array(parts.grams.length);
    this.#indices = into?.indices ?? new Int32Array(featureCount(parts));
    this.#values = into?.values ?? new Float32Array(featureCount(parts));
  }

  /** As the gate sees a prompt. */
  vectorOf({ grams, gramCount, wordGrams, shape }: PromptFeatures): PromptVector {
    const [table, counts, indices] = [this.#table, this.#counts, this.#indices];
    let [length, knownWords, knownChars] = [0, 0, 0];
    for (let at = 0; at < gramCount; at++) {
      const index = table.find(grams[at] ?? 0);
      if (index < 0) continue;
      if (at < wordGrams) knownWords++;
      else knownChars++;
      const count = counts[index] ?? 0;
      if (count === 0) indices[length++] = index;
      if (count < 0xffff) counts[index] = count + 1;
    }
    const known = (share(knownWords, wordGrams) + share(knownChars, gramCount - wordGrams)) / 2;
    for (let at = 0; at < length; at++) {
      const index = indices[at] ?? 0;
      this.#values[at] = damped(counts[index] ?? 0);
      counts[index] = 0;
    }
    return { length: this.#weigh(length, shape), indices, values: this.#values, known };
  }

  /** The same vector of a prompt that was counted while the vocabulary was gathered. */
  rowOf(prompt: GramCounts): { readonly row: SparseVector; readonly known: number } {
    let length = 0;
    const seen = [0, 0];
    const known = [0, 0];
    prompt.grams.forEach((gram, at) => {
      const part = at < prompt.words ? 0 : 1;
      const count = prompt.counts[at] ?? 0;
      seen[part] = (seen[part] ?? 0) + count;
      const index = this.#table.find(gram);
      if (index < 0) return;
      known[part] = (known[part] ?? 0) + count;
      this.#indices[length] = index;
      this.#values[length++] = damped(count);
    });
    const end = this.#weigh(length, prompt.shape);
    return {
      row: { indices: this.#indices.slice(0, end), values: this.#values.slice(0, end) },
      known: (share(known[0] ?? 0, seen[0] ?? 0) + share(known[1] ?? 0, seen[1] ?? 0)) / 2,
    };
  }

  /** Weighs grams by rarity, scales words, trigrams and shape to their shares of a unit vector, appends the shape. */
  #weigh(length: number, shape: Float32Array): number {
    const { words, idf, grams } = this.parts;
    const [indices, values] = [this.#indices, this.#values];
    let [wordSquare, charSquare, shapeSquare] = [0, 0, 0];
    for (let at = 0; at < length; at++) {
      const index = indices[at] ?? 0;
      const value = (values[at] ?? 0) * (idf[index] ?? 0);
      values[at] = value;
      if (index < words) wordSquare += value * value;
      else charSquare += value * value;
    }
    for (let at = 0; at < SHAPES; at++) shapeSquare += (shape[at] ?? 0) ** 2;
    const wordScale = wordSquare > 0 ? Math.sqrt(WORD_WEIGHT / wordSquare) : 0;
    const charScale = charSquare > 0 ? Math.sqrt(CHAR_WEIGHT / charSquare) : 0;
    const shapeScale = Math.sqrt(SHAPE_WEIGHT / shapeSquare);
    for (let at = 0; at < length; at++) {
      values[at] = (values[at] ?? 0) * ((indices[at] ?? 0) < words ? wordScale : charScale);
    }
    for (let at = 0; at < SHAPES; at++) {
      indices[length + at] = grams.length + at;
      values[length + at] = (shape[at] ?? 0) * shapeScale;
    }
    return length + SHAPES;
  }
}

/** Counts a prompt's grams, for training. */
export function countGrams({ grams, gramCount, wordGrams, shape }: PromptFeatures): GramCounts {
  const counts = new Map<number, number>();
  for (let at = 0; at < wordGrams; at++) add(counts, grams[at] ?? 0);
  const words = counts.size;
  for (let at = wordGrams; at < gramCount; at++) add(counts, grams[at] ?? 0);
  return {
    grams: Int32Array.from(counts.keys()),
    counts: Uint16Array.from(counts.values()),
    words,
    shape: shape.slice(),
  };
}

/** The grams that are in enough of the prompts. Depends on prompts alone. */
export function gatherVocabulary(prompts: readonly GramCounts[]): VocabularyParts {
  const frequency = new Map<number, number>();
  const words = new Set<number>();
  for (const prompt of prompts) {
    prompt.grams.forEach((gram, at) => {
      add(frequency, gram);
      if (at < prompt.words) words.add(gram);
    });
  }
  const kept = [...frequency]
    .filter(([, count]) => count >= Math.min(FEWEST_PROMPTS, prompts.length))
    .sort(([a, x], [b, y]) => y - x || a - b)
    .slice(0, MOST_GRAMS);
  const ordered = [...kept.filter(([gram]) => words.has(gram)), ...kept.filter(([gram]) => !words.has(gram))];
  return {
    grams: Int32Array.from(ordered, ([gram]) => gram),
    words: ordered.reduce((count, [gram]) => count + (words.has(gram) ? 1 : 0), 0),
    idf: Float32Array.from(ordered, ([, count]) => Math.log((1 + prompts.length) / (1 + count)) + 1),
  };
}

function add(counts: Map<number, number>, gram: number): void {
  counts.set(gram, (counts.get(gram) ?? 0) + 1);
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/** A word said ten times is not ten times as telling. */
const DAMPED = Float32Array.from({ length: 256 }, (_, count) => 1 + Math.log(Math.max(1, count)));

function damped(count: number): number {
  return DAMPED[count] ?? 1 + Math.log(count);
}
