import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { mixtureBits } from '@fleetgate/shared/mixture/posterior-mixture';
import { SeededRandom } from '@fleetgate/shared/random';

import { type ScoredAnswer, spreadPositions, toOutcome } from './outcome-sample.js';

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

  it('adds what experts give together, and how sure each was of its own answer', () => {
    const detailed = (promptBits: number, tokenBits: readonly number[]) => ({
      ...score(tokenBits.reduce((sum, bits) => sum + bits, 0)),
      promptBits,
      tokenBits,
    });
    const scores = new Map<string, ScoredAnswer>([
      ['a', { ...detailed(10, [1, 1, 1, 1]), own: { tokens: 7, meanLogProb: -0.5 } }],
      ['b', { ...detailed(60, [9, 9, 9, 9]), own: { tokens: 0, meanLogProb: undefined } }],
      ['c', score(30)],
    ]);
    const outcome = toOutcome('math-1', pair, scores, ['a', 'b', 'c'], ['a', 'b']);
    expect(outcome).toMatchObject({ out_tok: { a: 7, b: 0, c: 4, ensemble: 4 }, conf: { a: -0.5 } });
    // The prompt leaves no doubt: it costs the share of the weights that switches, and nothing else.
    const together = mixtureBits([
      { promptBits: 10, tokenBits: [1, 1, 1, 1] },
      { promptBits: 60, tokenBits: [9, 9, 9, 9] },
    ]).bits;
    expect(together).toBeLessThan(4.1);
    expect(outcome?.bpb['ensemble']).toBeCloseTo(together / 10, 4);
    expect(outcome?.y['ensemble']).toBeCloseTo(2 ** (-together / 10), 4);
  });

  it('leaves out a prompt whose answer the experts of an ensemble have cut at different places', () => {
    const scores = new Map<string, ScoredAnswer>([
      ['a', { ...score(9), promptBits: 1, tokenBits: [1, 2, 3, 3] }],
      ['b', { ...score(3), scoredTokens: 2, promptBits: 1, tokenBits: [1, 2] }],
    ]);
    expect(toOutcome('math-1', pair, scores, ['a', 'b'], ['a', 'b'])).toBeUndefined();
    expect(toOutcome('math-1', pair, scores, ['a', 'b'])).toBeDefined();
  });

  it('leaves out a prompt that an expert could not score', () => {
    expect(toOutcome('math-1', pair, new Map([['a', score(1)]]), ['a', 'b'])).toBeUndefined();
  });
});
