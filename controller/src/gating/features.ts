/**
 * Reads a prompt into what the gate knows it by: hashes of its words, word pairs and character trigrams, and a few figures
 * of length and shape. No model, no dictionary; `vocabulary.ts` makes a vector of them.
 *
 * Its work is bounded whatever the prompt: of a longer one only the first `HEAD_CHARS` and the last `TAIL_CHARS`
 * characters are looked at.
 */

/** Grows when the same prompt would be read otherwise: a gate trained with another version cannot be used. */
export const FEATURES_VERSION = 2;

export const HEAD_CHARS = 4_000;
export const TAIL_CHARS = 2_000;
/** A few compatibility characters become many when they are normalised; what is beyond is not read. */
const MOST_UNITS = 2 * (HEAD_CHARS + TAIL_CHARS);

/** Figures of length and shape. */
export const SHAPES = 14;

/** What was read of one prompt. Valid until the same extractor reads the next one. */
export interface PromptFeatures {
  /** One hash per occurrence; words and word pairs first, then character trigrams. */
  readonly grams: Int32Array;
  readonly gramCount: number;
  /** How many of them are words and word pairs. */
  readonly wordGrams: number;
  readonly shape: Float32Array;
  /** Estimated tokens of the whole prompt: max(words and punctuation, characters / 4), as in the outcome files. */
  readonly promptTokens: number;
}

const LETTER = 1;
const DIGIT = 2;
const BLANK = 3;
const LINE = 4;
const OTHER = 5;
const LINE_FEED = 0x0a;
const SPACE = 0x20;

const KIND = kindsOfAscii();
/** Kinds of characters whose share tells one sort of prompt from another. */
const SHAPE_KINDS = ['0123456789', '+-*/=<>%$^\\', '()[]{}', '"\'`', '\n', '?', '.,;'] as const;
const SHAPE_KIND = new Uint8Array(128);
SHAPE_KINDS.forEach((characters, kind) => {
  for (const character of characters) SHAPE_KIND[character.charCodeAt(0)] = kind + 1;
});

/** Reuses its arrays from prompt to prompt; one per gate, not shared between threads. */
export class FeatureExtractor {
  readonly #units = new Uint16Array(MOST_UNITS);
  readonly #grams = new Int32Array(3 * MOST_UNITS);
  readonly #shape = new Float32Array(SHAPES);

  /** Never throws, whatever the text; an empty prompt has only shape figures. */
  extract(prompt: string): PromptFeatures {
    const length = normalise(readPart(prompt), this.#units);
    const { count: wordGrams, words, numbers } = addWords(this.#units, length, this.#grams);
    const gramCount = addTrigrams(this.#units, length, this.#grams, wordGrams);
    describeShape(this.#shape, { units: this.#units, length, chars: prompt.length, words, numbers });
    const readChars = Math.min(prompt.length, HEAD_CHARS + TAIL_CHARS);
    const pieces = readChars === 0 ? 0 : (words / readChars) * prompt.length;
    return {
      grams: this.#grams,
      gramCount,
      wordGrams,
      shape: this.#shape,
      promptTokens: Math.max(1, Math.round(pieces), Math.ceil(prompt.length / 4)),
    };
  }
}

function readPart(prompt: string): string {
  const part =
    prompt.length <= HEAD_CHARS + TAIL_CHARS
      ? prompt
      : `${prompt.slice(0, HEAD_CHARS)} ${prompt.slice(prompt.length - TAIL_CHARS)}`;
  // The common case needs neither, and both are slow.
  return isAscii(part) ? part : part.normalize('NFKC').toLowerCase();
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) >= 0x80) return false;
  return true;
}

/** Lower case, white space runs made one blank, or one line feed where they hold one; returns the length. */
function normalise(text: string, into: Uint16Array): number {
  let length = 0;
  let gap = 0;
  for (let at = 0; at < text.length && length < into.length; at++) {
    const unit = text.charCodeAt(at);
    const kind = kindOf(unit);
    if (kind === BLANK || kind === LINE) {
      if (gap !== LINE_FEED) gap = kind === LINE ? LINE_FEED : SPACE;
      continue;
    }
    if (gap !== 0) {
      into[length++] = gap;
      gap = 0;
      if (length === into.length) break;
    }
    into[length++] = unit >= 0x41 && unit <= 0x5a ? unit + 0x20 : unit;
  }
  return length;
}

/**
 * Words are runs of letters, runs of digits (known by their length: which number it is says little) and single other
 * characters, line feeds among them.
 */
function addWords(units: Uint16Array, length: number, into: Int32Array) {
  let [count, words, numbers, previous, at] = [0, 0, 0, 0, 0];
  while (at < length) {
    const unit = units[at] ?? 0;
    const kind = kindOf(unit);
    if (unit === SPACE) {
      at++;
      continue;
    }
    let hash = 0x811c9dc5;
    const start = at;
    if (kind === LETTER) {
      while (at < length && kindOf(units[at] ?? 0) === LETTER) hash = Math.imul(hash ^ (units[at++] ?? 0), 0x01000193);
    } else if (kind === DIGIT) {
      while (at < length && kindOf(units[at] ?? 0) === DIGIT) at++;
      numbers++;
      hash = Math.imul(Math.min(4, at - start), 0x27d4eb2f);
    } else {
      at++;
      hash = Math.imul(unit + 1, 0x85ebca6b);
    }
    words++;
    hash = mix(hash);
    into[count++] = hash;
    if (previous !== 0) into[count++] = mix(Math.imul(previous, 0x9e3779b1) ^ hash);
    previous = hash;
  }
  return { count, words, numbers };
}

function addTrigrams(units: Uint16Array, length: number, into: Int32Array, from: number): number {
  let count = from;
  for (let at = 2; at < length; at++) {
    const packed = Math.imul(units[at - 2] ?? 0, 0x2c1b3c6d) ^ Math.imul(units[at - 1] ?? 0, 0x297a2d39);
    into[count++] = mix(packed ^ Math.imul((units[at] ?? 0) + 0x1000193, 0x165667b1));
  }
  return count;
}

interface Text {
  readonly units: Uint16Array;
  readonly length: number;
  readonly chars: number;
  readonly words: number;
  readonly numbers: number;
}

const shapeCounts = new Float64Array(SHAPE_KINDS.length + 1);

function describeShape(into: Float32Array, { units, length, chars, words, numbers }: Text): void {
  shapeCounts.fill(0);
  let foreign = 0;
  for (let at = 0; at < length; at++) {
    const unit = units[at] ?? 0;
    if (unit >= 0x80) foreign++;
    else shapeCounts[SHAPE_KIND[unit] ?? 0] = (shapeCounts[SHAPE_KIND[unit] ?? 0] ?? 0) + 1;
  }
  const share = (count: number) => Math.sqrt(count / Math.max(1, length));
  const lines = shapeCounts[5] ?? 0;
  into[0] = 1;
  into[1] = Math.log2(1 + chars) / 12;
  into[2] = Math.log2(1 + words) / 10;
  for (let kind = 1; kind <= SHAPE_KINDS.length; kind++) into[2 + kind] = 2 * share(shapeCounts[kind] ?? 0);
  into[10] = share(foreign);
  into[11] = words === 0 ? 0 : Math.min(2, length / words / 12);
  into[12] = Math.log2(1 + numbers) / 5;
  into[13] = Math.log2(1 + lines) / 5;
}

function kindOf(unit: number): number {
  if (unit < 0x80) return KIND[unit] ?? OTHER;
  if (unit === 0xa0 || (unit >= 0x2000 && unit <= 0x200a) || unit === 0x202f || unit === 0x3000) return BLANK;
  if (unit === 0x2028 || unit === 0x2029 || unit === 0x85) return LINE;
  // Beyond ASCII everything counts as a letter except general and CJK punctuation.
  return unit >= 0xaa && !(unit >= 0x2000 && unit <= 0x206f) && !(unit >= 0x3000 && unit <= 0x303f) ? LETTER : OTHER;
}

function kindsOfAscii(): Uint8Array {
  const kinds = new Uint8Array(128).fill(OTHER);
  kinds.fill(LETTER, 0x41, 0x5b);
  kinds.fill(LETTER, 0x61, 0x7b);
  kinds[0x5f] = LETTER;
  kinds.fill(DIGIT, 0x30, 0x3a);
  for (const blank of [0x09, 0x0b, 0x0c, 0x20]) kinds[blank] = BLANK;
  for (const line of [0x0a, 0x0d]) kinds[line] = LINE;
  return kinds;
}

/** Spreads a hash over all 32 bits, so that its low ones may index a table. */
function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) | 0;
}
