import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { type Ballot, Poll, vote, voteWeight } from './vote.js';

const ballot = (expert: string, text: string, weight = 1): Ballot => ({ expert, text, weight });

describe('a vote', () => {
  test('goes to the answer of most weight, however it is written', () => {
    const outcome = vote([
      ballot('a', 'So the total is 40 + 2.\nThe answer is 42.', 0.7),
      ballot('b', '41', 1),
      ballot('c', '\\boxed{42.0}', 0.6),
    ]);
    expect(outcome).toMatchObject({ expert: 'a', supporters: ['a', 'c'], isComparable: true });
    expect(outcome?.text).toContain('total');
    expect(outcome?.share).toBeCloseTo(1.3 / 2.3, 12);
  });

  test('of equal weights goes to the answer with the heaviest expert, then to the first', () => {
    expect(vote([ballot('a', 'x', 1), ballot('b', 'x', 1), ballot('c', 'y', 2)])?.expert).toBe('c');
    expect(vote([ballot('a', 'x'), ballot('b', 'y')])?.expert).toBe('a');
    expect(vote([ballot('a', 'x', 0), ballot('b', 'y', 0)])).toMatchObject({ expert: 'a', share: 0.5 });
  });

  test('on texts that hold no short answer goes to the heaviest expert, and says so', () => {
    const essay = 'Once upon a time there was a king who lived in a forest. '.repeat(9);
    expect(vote([ballot('a', essay, 1), ballot('b', `${essay}!`, 2), ballot('c', '7', 1)])).toMatchObject({
      expert: 'b',
      supporters: ['b'],
      isComparable: false,
    });
    expect(vote([])).toBeUndefined();
  });

  const answers = fc.array(
    fc.record({ expert: fc.string(), text: fc.constantFrom('1', '2', 'B)', ''), weight: fc.nat(5) }),
    { minLength: 1, maxLength: 7 },
  );
  test('does not depend on the order of ballots of different weight', () => {
    fc.assert(
      fc.property(answers, fc.infiniteStream(fc.nat()), (given, keys) => {
        const distinct = given.map((one, at) => ({ ...one, expert: String(at), weight: one.weight + at / 1024 }));
        const shuffled = distinct
          .map((one) => ({ one, key: keys.next().value }))
          .sort((a, b) => a.key - b.key)
          .map(({ one }) => one);
        expect(vote(shuffled)).toEqual(vote(distinct));
      }),
    );
  });

  test('gives the winner at least the weight of every other answer', () => {
    fc.assert(
      fc.property(answers, (given) => {
        const outcome = vote(given);
        if (outcome === undefined || !outcome.isComparable) return;
        const weightOf = (text: string) =>
          given.filter((one) => one.text === text).reduce((sum, { weight }) => sum + weight, 0);
        for (const { text } of given)
          if (text !== '') expect(weightOf(outcome.text)).toBeGreaterThanOrEqual(weightOf(text));
      }),
    );
  });
});

describe('weights', () => {
  test('are log-odds between two answers, and more where wrong answers differ', () => {
    expect(voteWeight(0.9, 2)).toBeCloseTo(Math.log(9), 12);
    expect(voteWeight(0.4, 2)).toBe(0);
    expect(voteWeight(0.4, 11)).toBeCloseTo(Math.log((0.4 / 0.6) * 10), 12);
    expect(voteWeight(1)).toBe(voteWeight(0.999));
    expect(voteWeight(0, 3)).toBe(0);
    // Experts that are right less than half of the time have a say unless told otherwise.
    expect(voteWeight(0.4)).toBeGreaterThan(voteWeight(0.3));
    expect(voteWeight(0.3)).toBeGreaterThan(0);
  });
});

describe('a poll', () => {
  test('is as sure of one expert as the expert is good', () => {
    const poll = new Poll(6);
    poll.add('x', voteWeight(0.7, 6));
    expect(poll.confidence).toBeCloseTo(0.7, 12);
    poll.add('x', voteWeight(0.6, 6));
    expect(poll.confidence).toBeGreaterThan(0.9);
    poll.add('y', voteWeight(0.9, 6));
    expect(poll.confidence).toBeLessThan(0.7);
  });

  test('of no answer is of no confidence and never settled', () => {
    const poll = new Poll();
    poll.add(undefined, 3);
    expect([poll.leader, poll.confidence, poll.isSettled(0)]).toEqual([undefined, 0, false]);
  });

  test('that is settled keeps its leader whatever comes', () => {
    const votes = fc.array(fc.tuple(fc.constantFrom('x', 'y', 'z', undefined), fc.integer({ min: 0, max: 4 })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(votes, votes, (before, after) => {
        const poll = new Poll(4);
        for (const [key, weight] of before) poll.add(key, weight);
        const { leader } = poll;
        if (!poll.isSettled(after.reduce((sum, [, weight]) => sum + weight, 0))) return;
        for (const [key, weight] of after) poll.add(key, weight);
        expect(poll.leader).toBe(leader);
      }),
    );
  });
});
