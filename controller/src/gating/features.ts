/**
 * Turns a prompt into a sparse vector of unit length without any model: hashed words, word pairs and character n-grams
 * (signed hashing: Weinberger et al. 2009), and a few figures of length and shape.
 *
 * Read by the gate at training and for every prompt, so its work is bounded: of a longer prompt only the first
 * `HEAD_CHARS` and the last `TAIL_CHARS` characters are looked at.
 */

/** Grows when the same prompt would give another vector: a gate trained with another version cannot be used. */
export const FEATURES_VERSION = 1;

export const HEAD_CHARS = 4_000;
export const TAIL_CHARS = 2_000;

const WORD_BUCKETS = 8_192;
const CHAR_BUCKETS = 8_192;
const SHAPES = 12;
/** Length of the vector: words, then character n-grams, then shape. */
export const FEATURE_COUNT = WORD_BUCKETS + CHAR_BUCKETS + SHAPES;

const SHORTEST_GRAM = 3;
const LONGEST_GRAM = 5;
/** Squared norms of the three blocks; they sum to 1. */
const WORD_WEIGHT = 0.55;
const CHAR_WEIGHT = 0.35;
const SHAPE_WEIGHT = 0.1;

export interface SparseVector {
  readonly indices: Int32Array;
  readonly values: Float32Array;
}

export interface PromptFeatures {
  /** Signed counts of the n-grams, damped to 1 + ln(count), and the shape figures; not yet weighted or normalised. */
  readonly counts: SparseVector;
  /** Estimated tokens of the whole prompt: max(words and punctuation, characters / 4), as in the outcome files. */
  readonly promptTokens: number;
}

/** Reuses its counting arrays from prompt to prompt; one per gate, not shared between threads. */
export class FeatureExtractor {
  readonly #counts = new Float32Array(FEATURE_COUNT);
  readonly #touched: number[] = [];

  /** Never throws, whatever the text; an empty prompt has only shape figures. */
  extract(prompt: string): PromptFeatures {
    const text = readPart(prompt);
    const words = wordsOf(text);
    let previous = 0;
    for (const word of words) {
      add(this.#counts, this.#touched, word, 0, WORD_BUCKETS);
      if (previous !== 0) {
        add(this.#counts, this.#touched, Math.imul(previous, 0x9e3779b1) ^ word, 0, WORD_BUCKETS);
      }
      previous = word;
    }
    this.#addCharacterGrams(text);
    const shape = shapeOf(text, prompt.length, words.length);
    shape.forEach((value, index) => this.#set(WORD_BUCKETS + CHAR_BUCKETS + index, value));
    const readChars = Math.min(prompt.length, HEAD_CHARS + TAIL_CHARS);
    const pieces = readChars === 0 ? 0 : (words.length / readChars) * prompt.length;
    return { counts: this.#take(), promptTokens: Math.max(1, Math.round(pieces), Math.ceil(prompt.length / 4)) };
  }

  #addCharacterGrams(text: string): void {
    const [counts, touched] = [this.#counts, this.#touched];
    for (let start = 0; start + SHORTEST_GRAM <= text.length; start++) {
      let hash = 0x811c9dc5;
      const end = Math.min(text.length, start + LONGEST_GRAM);
      for (let at = start; at < end; at++) {
        hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
        if (at - start + 1 >= SHORTEST_GRAM) add(counts, touched, hash, WORD_BUCKETS, CHAR_BUCKETS);
      }
    }
  }

  #set(index: number, value: number): void {
    if (value === 0) return;
    this.#touched.push(index);
    this.#counts[index] = value;
  }

  #take(): SparseVector {
    // A bucket may be listed twice when its count went through 0; the second visit finds 0 and drops it.
    const indices = new Int32Array(this.#touched.length);
    const values = new Float32Array(this.#touched.length);
    let length = 0;
    for (const index of this.#touched) {
      const count = this.#counts[index] ?? 0;
      this.#counts[index] = 0;
      if (count === 0) continue;
      indices[length] = index;
      values[length] = index >= WORD_BUCKETS + CHAR_BUCKETS ? count : damped(count);
      length++;
    }
    this.#touched.length = 0;
    return { indices: indices.subarray(0, length), values: values.subarray(0, length) };
  }
}

function add(counts: Float32Array, touched: number[], hash: number, offset: number, buckets: number): void {
  const mixed = mix(hash);
  const index = offset + ((mixed >>> 1) & (buckets - 1));
  const count = counts[index] ?? 0;
  if (count === 0) touched.push(index);
  counts[index] = count + ((mixed & 1) === 0 ? 1 : -1);
}

/** Weights counts by `idf` (one per feature) and scales words, n-grams and shape to their shares of a unit vector. */
export function weighted(counts: SparseVector, idf: Float32Array): SparseVector {
  const values = new Float32Array(counts.values.length);
  const squares = [0, 0, 0];
  for (let at = 0; at < values.length; at++) {
    const index = counts.indices[at] ?? 0;
    const value = (counts.values[at] ?? 0) * (idf[index] ?? 1);
    values[at] = value;
    const block = blockOf(index);
    squares[block] = (squares[block] ?? 0) + value * value;
  }
  const scales = [WORD_WEIGHT, CHAR_WEIGHT, SHAPE_WEIGHT].map((weight, block) => {
    const square = squares[block] ?? 0;
    return square > 0 ? Math.sqrt(weight / square) : 0;
  });
  for (let at = 0; at < values.length; at++) {
    values[at] = (values[at] ?? 0) * (scales[blockOf(counts.indices[at] ?? 0)] ?? 0);
  }
  return { indices: counts.indices, values };
}

function blockOf(index: number): 0 | 1 | 2 {
  if (index < WORD_BUCKETS) return 0;
  return index < WORD_BUCKETS + CHAR_BUCKETS ? 1 : 2;
}

function damped(count: number): number {
  return count > 0 ? 1 + Math.log(count) : -1 - Math.log(-count);
}

/** The part that is looked at: normalised (NFKC), lower case, white space runs made one blank. */
function readPart(prompt: string): string {
  const part =
    prompt.length <= HEAD_CHARS + TAIL_CHARS
      ? prompt
      : `${prompt.slice(0, HEAD_CHARS)} ${prompt.slice(prompt.length - TAIL_CHARS)}`;
  return part
    .normalize('NFKC')
    .slice(0, 2 * (HEAD_CHARS + TAIL_CHARS))
    .toLowerCase()
    .replace(/[^\S\n]+/g, ' ')
    .replace(/\s*\n\s*/g, '\n');
}

/** Hashes of words (runs of letters, digits and '_') and of single other characters, in order. */
function wordsOf(text: string): number[] {
  const hashes: number[] = [];
  let hash = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (isWordUnit(unit)) {
      hash = Math.imul((hash === 0 ? 0x811c9dc5 : hash) ^ unit, 0x01000193);
      continue;
    }
    if (hash !== 0) hashes.push(hash);
    hash = 0;
    if (unit !== 0x20 && unit !== 0x0a) hashes.push(Math.imul(unit + 1, 0x85ebca6b));
  }
  if (hash !== 0) hashes.push(hash);
  return hashes;
}

function isWordUnit(unit: number): boolean {
  if (unit < 0x80) {
    return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x5f;
  }
  // Beyond ASCII everything counts as a letter except general and CJK punctuation.
  return unit >= 0xaa && !(unit >= 0x2000 && unit <= 0x206f) && !(unit >= 0x3000 && unit <= 0x303f);
}

/** Kinds of characters whose share tells one sort of prompt from another, by code unit. */
const KINDS = ['digit', 'operator', 'bracket', 'quote', 'line', 'question', 'stop'] as const;
const KIND_OF = new Uint8Array(128);
for (const [kind, characters] of ['0123456789', '+-*/=<>%$^\\', '()[]{}', '"\'`', '\n', '?', '.,;'].entries()) {
  for (const character of characters) KIND_OF[character.charCodeAt(0)] = kind + 1;
}

function shapeOf(text: string, chars: number, words: number): readonly number[] {
  const counts = new Float64Array(KINDS.length + 1);
  let foreign = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x80) foreign++;
    else counts[KIND_OF[unit] ?? 0] = (counts[KIND_OF[unit] ?? 0] ?? 0) + 1;
  }
  const [, digits = 0, operators = 0, brackets = 0, quotes = 0, lines = 0, questions = 0, stops = 0] = counts;
  const share = (count: number) => Math.sqrt(count / Math.max(1, text.length));
  return [
    1,
    Math.log2(1 + chars) / 12,
    Math.log2(1 + words) / 10,
    2 * share(digits),
    2 * share(operators),
    2 * share(brackets),
    2 * share(quotes),
    2 * share(lines),
    2 * share(questions),
    2 * share(stops),
    share(foreign),
    words === 0 ? 0 : text.length / words / 12,
  ];
}

function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
