import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FEATURE_COUNT, FeatureExtractor, HEAD_CHARS, type SparseVector, TAIL_CHARS, weighted } from './features.js';

const idf = new Float32Array(FEATURE_COUNT).fill(1);
const vectorOf = (prompt: string) => weighted(new FeatureExtractor().extract(prompt).counts, idf);
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
            expect([...vector.values].every((value) => Number.isFinite(value) && value !== 0)).toBe(true);
            expect([...vector.indices].every((index) => index >= 0 && index < FEATURE_COUNT)).toBe(true);
            expect(new Set(vector.indices).size).toBe(vector.indices.length);
            expect(squareOf(vector)).toBeLessThanOrEqual(1 + 1e-5);
          }
        },
      ),
    );
  });

  test('a prompt with words has a vector of length 1', () => {
    expect(squareOf(vectorOf('Write a function that sorts a list.'))).toBeCloseTo(1, 5);
  });

  test('one extractor gives the same vector again, whatever it read in between', () => {
    const extractor = new FeatureExtractor();
    const before = extractor.extract('What is 3 + 4?');
    extractor.extract('ÄÖÜ 漢字 🦊 '.repeat(50));
    expect(extractor.extract('What is 3 + 4?')).toEqual(before);
  });

  test('white space, case and compatibility forms of letters make no difference to the words', () => {
    expect(cosine(vectorOf('Why did  the KING go?'), vectorOf('why did the king go?'))).toBeGreaterThan(0.98);
    expect(cosine(vectorOf('ﬁnd the total'), vectorOf('find the total'))).toBeGreaterThan(0.98);
  });

  test('prompts of one kind are more alike than prompts of two kinds', () => {
    const code = vectorOf('Write a Python function to sort a list of numbers.');
    const other = vectorOf('Write a Python function that reverses a string.');
    const story = vectorOf('Why did the princess leave the castle at night?');
    expect(cosine(code, other)).toBeGreaterThan(cosine(code, story) + 0.2);
  });

  test('of a huge prompt only the head and the tail are read, and its tokens are estimated from its length', () => {
    const head = 'question '.repeat(HEAD_CHARS);
    const build = (middle: string) => head.slice(0, HEAD_CHARS) + middle.repeat(1_000_000) + head.slice(-TAIL_CHARS);
    const extractor = new FeatureExtractor();
    const a = extractor.extract(build('0123456789'));
    const b = extractor.extract(build('abcdefghij'));
    expect(b).toEqual(a);
    expect(a.promptTokens).toBeGreaterThan(2_000_000);
  });

  test('an empty prompt counts as one token', () => {
    expect(new FeatureExtractor().extract('').promptTokens).toBe(1);
  });
});
