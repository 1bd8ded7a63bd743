import { SeededRandom } from '@fleetgate/shared/random';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { CommitteeChooser, coveringCommittee, type FreshLimits } from './vote-choice.js';
import { voteFigures } from './vote-figures.js';
import { alternativesOf, committeePolicies, runPolicy, valueOfPolicy } from './vote-policy.js';
import { type VotePrompt, voteFolds } from './vote-prompts.js';
import { voteReport } from './vote-report.js';

const unlimited: FreshLimits = () => ({ expired: () => false });
const EXPERTS = ['a', 'b', 'c', 'd'];

/** Experts that err independently, each right with its own probability; wrong answers spread over nine texts. */
function prompts(count: number, qualities: readonly number[], seed = 1): VotePrompt[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: count }, () => {
    const right = qualities.map((quality) => random.uniform() < quality);
    return {
      right,
      keys: right.map((isRight) => (isRight ? 'right' : `wrong ${Math.floor(9 * random.uniform())}`)),
      cost: qualities.map((_, at) => 1 + at / 10),
      quality: qualities,
      expectedCost: qualities.map((_, at) => 1 + at / 10),
      classId: 'general',
    };
  });
}

describe('asking in turn', () => {
  const [prompt] = prompts(1, [1, 1, 1, 1]);
  test('stops when the vote cannot change any more, and pays for those asked only', () => {
    if (prompt === undefined) throw new Error('no prompt');
    const asked = runPolicy({ order: [0, 1, 2, 3], until: 1 }, prompt, 10);
    expect(asked).toEqual({ isRight: true, cost: 1 + 1.1 + 1.2 });
    expect(runPolicy({ order: [0, 1, 2, 3], until: 'all' }, prompt, 10).cost).toBeCloseTo(4.6, 12);
    expect(runPolicy({ order: [3], until: 'all' }, prompt, 10).cost).toBeCloseTo(1.3, 12);
  });

  test('until nothing can change gives the outcome of asking all, for less', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.1, max: 0.9, noNaN: true }), { minLength: 2, maxLength: 5 }),
        (qualities) => {
          const order = qualities.map((_, at) => at);
          for (const one of prompts(20, qualities)) {
            const all = runPolicy({ order, until: 'all' }, one, 10);
            const inTurn = runPolicy({ order, until: 1 }, one, 10);
            expect(inTurn.cost).toBeLessThanOrEqual(all.cost);
            expect(inTurn.isRight).toBe(all.isRight);
          }
        },
      ),
    );
  });

  test('counts a vote as right when an expert that gave the winning answer is, and no answer as none', () => {
    const mixed: VotePrompt = {
      keys: ['x', 'x', undefined],
      right: [false, true, true],
      cost: [1, 1, 1],
      quality: [0.5, 0.5, 0.9],
      expectedCost: [1, 1, 1],
      classId: '',
    };
    expect(runPolicy({ order: [0, 1, 2], until: 'all' }, mixed, 3).isRight).toBe(true);
    expect(runPolicy({ order: [0, 2], until: 'all' }, mixed, 3).isRight).toBe(false);
    expect(runPolicy({ order: [2], until: 'all' }, mixed, 3).isRight).toBe(false);
  });

  test('knows how seldom two wrong answers are the same', () => {
    expect(alternativesOf(prompts(500, [0.3, 0.3, 0.3, 0.3]))).toBeGreaterThan(8);
    expect(alternativesOf([])).toBe(3);
  });
});

describe('choosing committees', () => {
  const trained = prompts(400, [0.6, 0.6, 0.6, 0.6]);

  test('keeps the budget, and is the best that does', () => {
    const chooser = new CommitteeChooser(trained, unlimited);
    for (const budget of [1.05, 2, 3, 10]) {
      const plan = chooser.choose(budget, unlimited);
      const answers = trained.map((prompt) => {
        const policy = plan?.policyOf(prompt);
        return policy === undefined ? undefined : runPolicy(policy, prompt, policy.alternatives);
      });
      const cost = answers.reduce((sum, answer) => sum + (answer?.cost ?? NaN), 0) / trained.length;
      const quality = answers.filter((answer) => answer?.isRight).length / trained.length;
      expect(cost).toBeLessThanOrEqual(budget + 1e-9);
      const alternatives = alternativesOf(trained);
      for (const policy of committeePolicies([0, 1, 2, 3])) {
        const value = valueOfPolicy(policy, trained, alternatives);
        if (value.cost <= budget) expect(quality).toBeGreaterThanOrEqual(value.quality - 1e-9);
      }
    }
    expect(chooser.choose(0.5, unlimited)).toBeUndefined();
  });

  test('the covering committee holds three experts at least', () => {
    expect(coveringCommittee(trained, 3.4, unlimited)?.policyOf(trained[0] ?? never()).order).toEqual([0, 1, 2]);
    expect(coveringCommittee(trained, 2, unlimited)).toBeUndefined();
  });
});

test('independent experts of equal quality vote better than one of them answers, where the budget allows', () => {
  const folds = [1, 2].map((seed) => ({
    train: prompts(400, [0.6, 0.6, 0.6, 0.6], seed),
    test: prompts(400, [0.6, 0.6, 0.6, 0.6], seed + 2),
  }));
  const figures = voteFigures(EXPERTS, folds, unlimited);
  const dear = figures.budgets.at(-1);
  expect(dear?.byClass?.quality).toBeGreaterThan((dear?.single.quality ?? 1) + 0.1);
  expect(dear?.committee?.quality).toBeGreaterThan((dear?.single.quality ?? 1) + 0.1);
  expect(figures.budgets[0]).toMatchObject({ single: { expert: '(none)' }, byClass: null, committee: null });
  const report = voteReport('made up', figures, ['vast']);
  expect(report.notes.at(-1)).toContain('vast');
  expect(report.figures.length).toBeGreaterThan(2);
  for (const { columns, rows } of report.tables) for (const row of rows) expect(row).toHaveLength(columns.length);
});

test('every prompt is in the test of one fold, and never in its train', async () => {
  const outcomes = Array.from({ length: 120 }, (_, at) => ({
    id: String(at),
    prompt: `how many apples are ${at} and ${at * 7} apples`,
    y: { a: at % 2, b: 1, ignored: 1 },
    ans: { a: at % 2 === 1 ? '1.0' : null, b: '1' },
  }));
  const gates: number[] = [];
  const folds = await voteFolds(
    outcomes,
    new Map([
      ['a', 1],
      ['b', 2],
    ]),
    1,
    async (done) => void gates.push(done),
  );
  expect(gates).toHaveLength(16);
  expect(folds.reduce((sum, { test: own }) => sum + own.length, 0)).toBe(120);
  for (const fold of folds) expect(fold.train.length + fold.test.length).toBe(120);
  const [first] = folds.flatMap(({ test: own }) => own).filter(({ right }) => right[0]);
  expect(first).toMatchObject({ keys: ['1', '1'], right: [true, true] });
  expect(first?.quality).toHaveLength(2);
});

function never(): never {
  throw new Error('no prompt');
}
