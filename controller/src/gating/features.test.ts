import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FeatureExtractor, HEAD_CHARS, SHAPES, TAIL_CHARS } from './features.js';
import { countGrams, featureCount, gatherVocabulary, type SparseVector, Vocabulary } from './vocabulary.js';

const TEXTS = [
  'Write a Python function to sort a list of numbers.',
  'Write a Python function that reverses a string.',
  'Why did the princess leave the castle at night?',
  'Why did the king go? Find the total of 3 + 4.',
];
const extractor = new FeatureExtractor();
/** Every gram of the texts, three times over so that none is too rare. */
const vocabularyOf = (texts: readonly string[]) =>
  new Vocabulary(gatherVocabulary([...texts, ...texts, ...texts].map((text) => countGrams(extractor.extract(text)))));
const vocabulary = vocabularyOf(TEXTS);

function vectorOf(prompt: string): SparseVector {
  const { indices, values, length } = vocabulary.vectorOf(extractor.extract(prompt));
  return { indices: indices.slice(0, length), values: values.slice(0, length) };
}
const squareOf = (vector: SparseVector) => vector.values.reduce((sum, value) => sum + value * value, 0);

function cosine(a: SparseVector, b: SparseVector): number {
  const values = new Map([...a.indices].map((index, at) => [index, a.values[at] ?? 0]));
  let product = 0;
  b.indices.forEach((index, at) => (product += (values.get(index) ?? 0) * (b.values[at] ?? 0)));
  return product / Math.sqrt(squareOf(a) * squareOf(b));
}

describe('features of a prompt', () => {
  test('any text, also binary, lone surrogates and emoji, gives a finite vector of length at most 1', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.array(fc.integer({ min: 0, max: 0xffff })),
        (text, units) => {
          for (const prompt of [text, String.fromCharCode(...units)]) {
            const vector = vectorOf(prompt);
            expect([...vector.values].every((value) => Number.isFinite(value))).toBe(true);
            expect([...vector.indices].every((index) => index >= 0 && index < featureCount(vocabulary.parts))).toBe(
              true,
            );
            expect(new Set(vector.indices).size).toBe(vector.indices.length);
            expect(squareOf(vector)).toBeLessThanOrEqual(1 + 1e-5);
            const { known } = vocabulary.vectorOf(extractor.extract(prompt));
            expect(known).toBeGreaterThanOrEqual(0);
            expect(known).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
  });

  test('a prompt of known words has a vector of length 1, one of unknown signs only its shape', () => {
    expect(squareOf(vectorOf(TEXTS[0] ?? ''))).toBeCloseTo(1, 5);
    expect(vectorOf('漢字仮名交じり文').indices.length).toBe(SHAPES);
    expect(vocabulary.vectorOf(extractor.extract('漢字仮名交じり文')).known).toBe(0);
    expect(vocabulary.vectorOf(extractor.extract(TEXTS[0] ?? '')).known).toBe(1);
  });

  test('training sees the vector that the gate sees', () => {
    for (const text of [...TEXTS, 'the the the list list 12 123 12', '', 'x']) {
      const trained = vocabulary.rowOf(countGrams(extractor.extract(text)));
      expect(trained.row).toEqual(vectorOf(text));
      expect(trained.known).toBeCloseTo(vocabulary.vectorOf(extractor.extract(text)).known, 12);
    }
  });

  test('one extractor reads the same again, whatever it read in between', () => {
    const before = vectorOf('What is 3 + 4?');
    vectorOf('ÄÖÜ 漢字 🦊 '.repeat(50));
    expect(vectorOf('What is 3 + 4?')).toEqual(before);
  });

  test('white space, case and compatibility forms of letters make no difference to the words', () => {
    expect(cosine(vectorOf('Why did  the KING go?'), vectorOf('why did the king go?'))).toBeGreaterThan(0.98);
    expect(cosine(vectorOf('ﬁnd the total'), vectorOf('find the total'))).toBeGreaterThan(0.98);
  });

  test('a number counts by its digits, whichever it is', () => {
    const grams = (prompt: string) => {
      const { grams: all, wordGrams } = extractor.extract(prompt);
      return [...all.slice(0, wordGrams)];
    };
    expect(grams('the total of 17')).toEqual(grams('the total of 42'));
    expect(grams('the total of 17')).not.toEqual(grams('the total of 417'));
  });

  test('prompts of one kind are more alike than prompts of two kinds', () => {
    const [code, other, story] = TEXTS.map(vectorOf);
    if (code === undefined || other === undefined || story === undefined) throw new Error('three texts');
    expect(cosine(code, other)).toBeGreaterThan(cosine(code, story) + 0.2);
  });

  test('of a huge prompt only the head and the tail are read, and its tokens are estimated from its length', () => {
    const head = 'question '.repeat(HEAD_CHARS);
    const build = (middle: string) => head.slice(0, HEAD_CHARS) + middle.repeat(1_000_000) + head.slice(-TAIL_CHARS);
    const read = (prompt: string) => ({ promptTokens: extractor.extract(prompt).promptTokens, ...vectorOf(prompt) });
    const a = read(build('0123456789'));
    expect(read(build('abcdefghij'))).toEqual(a);
    expect(a.promptTokens).toBeGreaterThan(2_000_000);
  });

  test('letters that normalisation multiplies are read up to a bound', () => {
    // One sign, eighteen letters.
    const { gramCount } = extractor.extract('ﷺ'.repeat(10_000_000 / 2));
    expect(gramCount).toBeLessThan(3 * 2 * (HEAD_CHARS + TAIL_CHARS));
  });

  test('an empty prompt counts as one token', () => {
    expect(extractor.extract('').promptTokens).toBe(1);
  });
});

describe('a vocabulary', () => {
  test('leaves out what is in fewer than three prompts, and does not depend on the order of prompts', () => {
    const texts = ['alpha beta', 'alpha gamma', 'alpha delta', 'beta', 'beta'];
    const count = (text: string) => countGrams(extractor.extract(text));
    const parts = gatherVocabulary(texts.map(count));
    expect(gatherVocabulary([...texts].toReversed().map(count))).toEqual(parts);
    expect(parts.words).toBe(2);
    expect(vocabularyOf(['alpha']).vectorOf(extractor.extract('alpha')).known).toBe(1);
  });
});
