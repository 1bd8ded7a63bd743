import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { canonicalAnswer, finalAnswer } from './final-answer.js';

describe('the final answer of a text', () => {
  test.each([
    ['Paris', 'Paris'],
    ['We add both.\n#### 1,234', '1,234'],
    ['so $x = \\boxed{\\frac{1}{2}}$ holds', '\\frac{1}{2}'],
    ['First 3, then 4.\n**Answer:** B', 'B'],
    ['The answer is 3.\nNo wait. The answer is: 4', '4'],
    ['{"reasoning": "long ...", "answer": "7"}', '7'],
  ])('%j is %j', (text, answer) => {
    expect(finalAnswer(text)).toBe(answer);
  });

  test.each([[''], ['  \n '], ['A long story. '.repeat(20)], ['two\nlines']])('%j has none', (text) => {
    expect(finalAnswer(text)).toBeUndefined();
  });
});

describe('one text for every way of writing an answer', () => {
  test.each([
    [['42', ' 42. ', '42.0', '$42', '**42**', '+42', '42.00', '$42$', '４２'], '42'],
    [['1,234.50', '1234.5', '€ 1,234.50'], '1234.5'],
    [['0', '-0', '0.00'], '0'],
    [['50%', '50 %'], '50'],
    [['B', '(B)', 'b)', 'B. Paris', 'Option B', '(b) Paris'], 'b'],
    [['Yes', 'yes.', 'Yes, since 3 > 2'], 'yes'],
    [['New  York', 'new york.', '`New York`'], 'new york'],
    [["['a', 'B']", '["a","B"]'], "['a','B']"],
    [['12345678901234567890'], '12345678901234567890'],
  ])('%j', (written, canonical) => {
    expect(written.map(canonicalAnswer)).toEqual(written.map(() => canonical));
  });

  test('tells different answers apart', () => {
    const different = [
      '1',
      '-1',
      '1.5',
      '15',
      'a',
      'b',
      'ab',
      "'ab'",
      "'AB'",
      '1/2',
      'yes',
      'no',
      '[1, 2]',
      '[12]',
      '',
    ];
    expect(new Set(different.map(canonicalAnswer)).size).toBe(different.length);
  });

  test('changes nothing the second time, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        const once = canonicalAnswer(text);
        expect(canonicalAnswer(once)).toBe(once);
      }),
    );
  });
});
