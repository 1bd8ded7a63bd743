import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '../random.js';
import { drawToken, mixNextTokens, type NextTokens, probabilityOf } from './next-token.js';
import { mixtureBits, PosteriorMixture } from './posterior-mixture.js';

const bits = fc.double({ min: 0.01, max: 30, noNaN: true });
const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

describe('posterior mixture', () => {
  it('is plain Bayes without a switching share: the bits of a document are those of the marginal likelihood', () => {
    const document = fc.integer({ min: 1, max: 4 }).chain((members) =>
      fc.array(fc.tuple(bits, fc.array(bits, { minLength: 12, maxLength: 12 })), {
        minLength: members,
        maxLength: members,
      }),
    );
    fc.assert(
      fc.property(document, (members) => {
        const given = members.map(([promptBits, tokenBits]) => ({ promptBits, tokenBits }));
        const joint = given.map((one) => 2 ** -(one.promptBits + sum(one.tokenBits)));
        const prompts = given.map((one) => 2 ** -one.promptBits);
        const marginal = Math.log2(sum(prompts)) - Math.log2(sum(joint));
        expect(mixtureBits(given, { share: 0 }).bits).toBeCloseTo(marginal, 6);
      }),
    );
  });

  it('never loses more to the best member than switching and the prior cost', () => {
    const share = 0.01;
    fc.assert(
      fc.property(fc.array(fc.tuple(bits, bits, bits), { minLength: 1, maxLength: 60 }), (tokens) => {
        const members = [0, 1, 2].map((member) => ({
          promptBits: 0,
          tokenBits: tokens.map((token) => token[member] ?? 0),
        }));
        const best = Math.min(...members.map(({ tokenBits }) => sum(tokenBits)));
        const cost = Math.log2(3) - tokens.length * Math.log2(1 - share);
        expect(mixtureBits(members, { share }).bits).toBeLessThanOrEqual(best + cost + 1e-6);
      }),
    );
  });

  it('follows a text that turns to another domain, where plain Bayes cannot', () => {
    const first = { promptBits: 100, tokenBits: [...Array<number>(40).fill(2), ...Array<number>(40).fill(9)] };
    const second = { promptBits: 300, tokenBits: [...Array<number>(40).fill(9), ...Array<number>(40).fill(2)] };
    const switching = mixtureBits([first, second]);
    expect(switching.bits).toBeLessThan(40 * 2 + 40 * 2 + 15);
    expect(switching.weights[1]).toBeGreaterThan(0.9);
    expect(mixtureBits([first, second], { share: 0 }).bits).toBeGreaterThan(40 * 2 + 40 * 8);
  });

  it('goes on when a member is dropped, and when every member held the text impossible', () => {
    const mixture = new PosteriorMixture(3, [1, 2, 1]);
    mixture.drop(1);
    expect([...mixture.weights]).toEqual([0.5, 0, 0.5]);
    mixture.observe([Infinity, 0, Infinity]);
    expect(sum(mixture.weights)).toBeCloseTo(1, 12);
    mixture.observe([3, 0, 1]);
    expect(mixture.weights[1]).toBe(0);
    expect(mixture.weights[2]).toBeGreaterThan(0.5);
  });

  it('refuses members with unlike numbers of tokens', () => {
    const members = [
      { promptBits: 0, tokenBits: [1] },
      { promptBits: 0, tokenBits: [1, 2] },
    ];
    expect(() => mixtureBits(members)).toThrow(RangeError);
  });
});

describe('next token of a mixture', () => {
  const left: NextTokens = { ids: [7, 3], logProbs: [Math.log(0.6), Math.log(0.3)], restProb: 0.1 };
  const right: NextTokens = { ids: [3, 9], logProbs: [Math.log(0.8), Math.log(0.1)], restProb: 0.1 };

  it('adds up what the members give, with a bound for what they do not list', () => {
    const mixed = mixNextTokens([left, right], [0.5, 0.5]);
    expect(mixed.map(([token]) => token)).toEqual([3, 7, 9]);
    for (const [token, probability] of mixed) {
      expect(probability).toBeCloseTo(0.5 * probabilityOf(token, left) + 0.5 * probabilityOf(token, right), 12);
    }
  });

  it('takes the likeliest at temperature 0, and draws from the nucleus otherwise', () => {
    const mixed = mixNextTokens([left, right], [1, 0]);
    const random = new SeededRandom(1);
    expect(drawToken(mixed, { temperature: 0, topP: 1 }, random)).toBe(7);
    const drawn = Array.from({ length: 2000 }, () => drawToken(mixed, { temperature: 1, topP: 1 }, random));
    expect(drawn.filter((token) => token === 7).length / 2000).toBeCloseTo(0.6 / 0.9, 1);
    const nucleus = Array.from({ length: 200 }, () => drawToken(mixed, { temperature: 1, topP: 0.5 }, random));
    expect(new Set(nucleus)).toEqual(new Set([7]));
  });
});
