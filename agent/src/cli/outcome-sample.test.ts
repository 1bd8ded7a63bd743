import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '@fleetgate/shared/random';

import { spreadPositions, toOutcome } from './outcome-sample.js';

describe('spreadPositions', () => {
  it('takes one of each equal part, in order', () => {
    fc.assert(
      fc.property(fc.nat(5000), fc.integer({ min: 1, max: 300 }), fc.integer(), (length, count, seed) => {
        const positions = spreadPositions(length, count, new SeededRandom(seed));
        expect(positions.length).toBe(Math.min(length, count));
        for (const [i, position] of positions.entries()) {
          if (length > count) expect(Math.floor(((position + 1) * count - 1) / length)).toBe(i);
          else expect(position).toBe(i);
        }
        expect(spreadPositions(length, count, new SeededRandom(seed))).toEqual(positions);
      }),
    );
  });
});

describe('toOutcome', () => {
  const pair = { prompt: 'p', completion: 'c', domain: 'math' };
  const score = (bits: number) => ({ bits, bytes: 10, promptTokens: 9, scoredTokens: 4 });

  it('makes quality of bits per byte', () => {
    const scores = new Map([
      ['a', score(10)],
      ['b', score(20)],
    ]);
    expect(toOutcome('math-1', pair, scores, ['a', 'b'])).toEqual({
      id: 'math-1',
      task: 'math',
      prompt: 'p',
      prompt_tok: 9,
      y: { a: 0.5, b: 0.25 },
      bpb: { a: 1, b: 2 },
      out_tok: { a: 4, b: 4 },
    });
  });

  it('leaves out a prompt that an expert could not score', () => {
    expect(toOutcome('math-1', pair, new Map([['a', score(1)]]), ['a', 'b'])).toBeUndefined();
  });
});
