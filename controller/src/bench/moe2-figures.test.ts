import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SeededRandom } from '@fleetgate/shared/random';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { referenceDocument } from '../../../test/fixtures/instances/reference-instances.js';
import { writeJsonLines } from '../gating/disk-outcomes.js';
import { type Matrix, matrix, rowOf } from '../gating/linear-algebra.js';
import { syntheticOutcomes } from '../gating/outcomes.fixture.js';
import { gateProblemSchema } from '../optimiser/gate-problem.js';
import { moe2Figures } from './disk-moe2-figures.js';
import { minimise } from './lbfgs.js';
import { fallsOf, maskRegret, randomSelections, valueOf } from './mask-regret.js';
import { moe2Report } from './moe2-report.js';
import { bytesByName, outcomeGate, withEnergyShare, withinLatency } from './outcome-gate-problem.js';
import { columnsOf, logitsOf, maskSoftmax, softmaxLoss, trainSoftmax } from './softmax-gate.js';

function table(rows: readonly (readonly number[])[]): Matrix {
  const of = matrix(rows.length, rows[0]?.length ?? 0);
  rows.forEach((row, at) => rowOf(of, at).set(row));
  return of;
}

function random(rows: number, columns: number, seed: number): Matrix {
  const source = new SeededRandom(seed);
  return table(Array.from({ length: rows }, () => Array.from({ length: columns }, () => source.uniform())));
}

describe('L-BFGS', () => {
  test('finds the minimum of a bent valley (Rosenbrock 1960)', () => {
    const found = minimise(
      (point, gradient) => {
        const [x = 0, y = 0] = point;
        gradient[0] = -2 * (1 - x) - 400 * x * (y - x * x);
        gradient[1] = 200 * (y - x * x);
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2;
      },
      Float64Array.of(-1.2, 1),
      200,
      1e-9,
    );
    expect(found[0]).toBeCloseTo(1, 6);
    expect(found[1]).toBeCloseTo(1, 6);
  });
});

describe('a softmax gate', () => {
  const features = random(60, 3, 1);
  const quality = table(
    Array.from({ length: 60 }, (_, row) => {
      const x = rowOf(features, row)[0] ?? 0;
      return [x, 1 - x, 0.4];
    }),
  );

  test.each(['best expert', 'mixture'] as const)('trained on %s finds the better expert', (loss) => {
    const gate = trainSoftmax({ features, quality, loss });
    const logits = logitsOf(gate, features);
    const all = [0, 1, 2];
    expect(valueOf(logits, quality, all, 'chosen')).toBeGreaterThan(0.95 * valueOf(quality, quality, all, 'chosen'));
  });

  test.each(['best expert', 'mixture'] as const)('has an optimum that no coordinate improves (%s)', (loss) => {
    const task = { features, quality, loss };
    const gate = trainSoftmax(task);
    // A wrong gradient would have stopped elsewhere.
    for (const at of gate.cells.keys()) {
      for (const step of [-0.05, 0.05]) {
        const cells = Float64Array.from(gate.cells);
        cells[at] = (cells[at] ?? 0) + step;
        expect(softmaxLoss(task, { ...gate, cells })).toBeGreaterThan(softmaxLoss(task, gate) - 1e-5);
      }
    }
  });

  test('masked is never better on its own training prompts than one trained on the selection', () => {
    const prompts = { features, quality };
    for (const loss of ['best expert', 'mixture'] as const) {
      const full = trainSoftmax({ ...prompts, loss });
      const regret = maskRegret(prompts, prompts, loss, full, [
        [0, 2],
        [1, 2],
      ]);
      expect(regret.trainingGap.mean).toBeGreaterThan(0);
      expect(regret.trainingGap.worst).toBeGreaterThanOrEqual(regret.trainingGap.mean);
    }
  });

  test('masked gives the remaining experts the ratios they had', () => {
    const gate = trainSoftmax({ features, quality, loss: 'best expert' });
    expect(logitsOf(maskSoftmax(gate, [0, 2]), features)).toEqual(columnsOf(logitsOf(gate, features), [0, 2]));
  });
});

describe('one more expert', () => {
  test('lowers an even mixture, and never the best routing', () => {
    const quality = table([[0.9, 0.3]]);
    const even = table([[0, 0]]);
    expect(valueOf(even, quality, [0], 'mixed')).toBeCloseTo(0.9, 12);
    expect(valueOf(even, quality, [0, 1], 'mixed')).toBeCloseTo(0.6, 12);
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (seed, other) => {
        const outcomes = random(5, 6, seed);
        const selections = randomSelections(6, 10, new SeededRandom(other));
        const falls = fallsOf((own) => valueOf(outcomes, outcomes, own, 'chosen'), selections, 6, new SeededRandom(1));
        expect(falls).toMatchObject({ pairs: 10, share: 0, worst: 0 });
      }),
      { numRuns: 50, seed: 3 },
    );
  });
});

describe('the problem that outcomes pose', () => {
  const outcomes = syntheticOutcomes(30);
  const bytes = { code: 1e9, generalist: 2e9, math: 1e9, story: 1e9 };
  const gate = outcomeGate('made up', outcomes, Object.keys(bytes), bytes);

  test('weighs classes by their prompts, and costs by size and tokens', () => {
    const { problem, classes } = gate;
    expect(classes).toEqual(['code', 'math', 'story']);
    expect(problem.weight.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    expect(problem.resources[0]?.[1]).toBeCloseTo(2 * (problem.resources[0]?.[0] ?? 0), 12);
    // 20 prompt tokens and 100, 100 or 20 of answer, 33 GB/s, 7.9 W.
    expect(problem.resources[0]?.[0]).toBeCloseTo((7.9 / 33) * (20 + 220 / 3), 9);
    expect(withEnergyShare(problem, 0.5).budget[0]).toBeCloseTo(0.5 * (problem.budget[0] ?? 0), 12);
  });

  test('leaves classes to the experts that answer them in time', () => {
    const { quality } = withinLatency(gate, 4);
    expect(quality[1]?.map((each) => each > 0)).toEqual([false, false, true]);
    expect(quality[0]?.every((each) => each > 0)).toBe(true);
  });

  test.each([
    ['gemma-2-9b-it', 9e9],
    ['llama3-chatqa-1.5-70b', 70e9],
    ['Qwen2.5-0.5B-Instruct', 0.5e9],
    ['mixtral-8x7b-instruct-v0.1', undefined],
    ['gpt-4-1106-preview', undefined],
    ['math', undefined],
  ])('reads the size of %s from its name', (name, expected) => {
    expect(bytesByName(name)).toBe(expected);
  });
});

test('the figures of a set of outcomes: our gate loses nothing by masks, our choice is nowhere below a baseline', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-moe2-'));
  try {
    const path = join(folder, 'outcomes.jsonl.gz');
    await writeJsonLines(path, syntheticOutcomes(60));
    const bytes = { code: 1e9, generalist: 2e9, math: 1e9, story: 1e9 };
    const reference = gateProblemSchema.parse(referenceDocument('gate-01-n8').document);
    const figures = await moe2Figures(
      [{ name: 'made up', path, bytes }],
      [reference],
      1,
      () => {},
      new AbortController().signal,
    );
    expect(figures.instances).toMatchObject([{ name: 'gate-01-n8', isProven: true }]);
    const [set] = figures.sets;
    expect(set?.masks.gateDifference).toBe(0);
    expect(set?.masks.falls.find(({ what }) => what === 'our gate, predicted quality')?.share).toBe(0);
    for (const { ours, isProven, baselines } of [...(set?.tradeOff?.energy ?? []), ...(set?.tradeOff?.delay ?? [])]) {
      expect(isProven).toBe(true);
      expect(baselines.exhaustive).toBeCloseTo(ours ?? NaN, 9);
      for (const other of Object.values(baselines)) expect(other ?? 0).toBeLessThanOrEqual((ours ?? 0) + 1e-9);
    }
    const report = moe2Report(figures);
    expect(report.tables.map(({ rows }) => rows.length)).toEqual([1, 4, 6, 10, 10]);
    const never = moe2Figures([{ name: 'x', path }], [], 1, () => {}, AbortSignal.abort(new Error('enough')));
    await expect(never).rejects.toThrow();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
